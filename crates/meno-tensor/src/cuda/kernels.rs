//! The compiled kernels: fat binaries made by `make cuda` from the sources in `kernels/`, for every architecture that
//! Meno supports. `dev/cuda/build.py` describes the format of the pack.

/// Gives the pack, and with it every image, the alignment of a fat binary's header.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static PACK: &Aligned<[u8]> = &Aligned(*include_bytes!("kernels/kernels.fatbins"));

/// A compiled source file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image {
    /// The name of the source, without its extension. Sources `*_sm90a` are for compute capability 9.0 alone.
    pub(super) name: &'static str,
    /// The hash of the source and of all headers.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests compare it"))]
    pub(super) hash: u64,
    /// The fat binary.
    pub(super) bytes: &'static [u8],
}

impl Image {
    /// Returns true if only cards of compute capability 9.0 can load it.
    pub(super) fn is_sm90a(&self) -> bool {
        self.name.ends_with("_sm90a")
    }
}

/// Returns the compiled sources.
pub(super) fn images() -> Vec<Image> {
    let end = PACK.0.windows(2).position(|pair| pair == b"\n\n").expect("invariant: the header ends");
    let header = std::str::from_utf8(&PACK.0[..end]).expect("invariant: the header is text");
    let mut offset = end + 2;
    let image = |line: &'static str| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("invariant: a line has three words");
        let (name, hash, len) = (word(), word(), word().parse::<usize>().expect("invariant: a length"));
        let hash = u64::from_str_radix(hash, 16).expect("invariant: a hash");
        offset = offset.next_multiple_of(64);
        let bytes = &PACK.0[offset..][..len];
        offset += len;
        Image { name, hash, bytes }
    };
    header.lines().skip(1).map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// FNV-1a, 64 bits.
    fn fnv(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
    }

    /// The directory of the sources.
    const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cuda/kernels");

    /// Returns names and contents of the sources with this extension, sorted by name.
    fn sources(extension: &str) -> Vec<(String, Vec<u8>)> {
        let paths = std::fs::read_dir(SOURCES).unwrap().map(|entry| entry.unwrap().path());
        let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
        paths.sort();
        let read = |path: &std::path::PathBuf| {
            (path.file_stem().unwrap().to_str().unwrap().to_string(), std::fs::read(path).unwrap())
        };
        paths.iter().map(read).collect()
    }

    #[test]
    fn the_compiled_kernels_are_those_of_the_sources() {
        if !Path::new(SOURCES).exists() {
            eprintln!("skipped: no sources"); // a machine that only runs the tests
            return;
        }
        let headers: Vec<u8> = sources("cuh").into_iter().flat_map(|(_, text)| text).collect();
        let expected: Vec<(String, u64)> =
            sources("cu").into_iter().map(|(name, text)| (name, fnv(&[text, headers.clone()].concat()))).collect();
        let compiled: Vec<(String, u64)> = images().iter().map(|image| (image.name.to_string(), image.hash)).collect();
        assert_eq!(compiled, expected, "kernels.fatbins is stale: run `make cuda` and commit it");
    }

    #[test]
    fn every_image_is_aligned_and_a_fat_binary() {
        for image in images() {
            assert_eq!(image.bytes.as_ptr().align_offset(64), 0);
            assert_eq!(image.bytes[..4], [0x50, 0xed, 0x55, 0xba], "{}", image.name);
        }
    }
}
