//! Kept prefixes on disk, so that a conversation continues after a restart without recomputing its beginning.
//!
//! The file consists of little-endian 32-bit words (sizes in parentheses are in words): [`MAGIC`] (2); fingerprint (2);
//! page format (2); type of the cache; number of layers, then per layer the key heads and the widths of keys and
//! values; number of pages; number of prefixes, then per prefix its salt (2), the number of tokens, the tokens, and its
//! pages; the contents of the pages, per page layer by layer: keys, then values; a checksum of everything before (2).
//! Every count is checked against the length of the file before memory is allocated for it.

use super::prefix::Prefixes;
use meno_tensor::kv_cache::{KvCache, KvType};
use meno_tensor::tape::pages;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

const MAGIC: [u32; 2] = [u32::from_le_bytes(*b"meno"), u32::from_le_bytes(*b"KV-3")];

/// A checksum of words (FNV-1a by words).
#[derive(Clone, Copy)]
pub(super) struct Checksum(u64);

impl Checksum {
    pub(super) fn new() -> Checksum {
        Checksum(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn add(&mut self, word: u32) {
        self.0 = (self.0 ^ word as u64).wrapping_mul(0x0000_0100_0000_01b3);
    }

    pub(super) fn get(self) -> u64 {
        self.0
    }
}

fn halves(x: u64) -> [u32; 2] {
    [x as u32, (x >> 32) as u32]
}

/// The header that a file must match.
fn header(cache: &KvCache, fingerprint: u64) -> Vec<u32> {
    let kind = match cache.store().kv_type() {
        KvType::F32 => 0,
        KvType::Bf16 => 1,
        KvType::Q8_0 => 2,
    };
    let mut format = Checksum::new();
    cache.store().page_format().bytes().for_each(|b| format.add(b as u32));
    let mut words = [MAGIC, halves(fingerprint), halves(format.get())].concat();
    let layers = cache.store().layers();
    words.extend([kind, layers.len() as u32]);
    words.extend(layers.iter().flat_map(|l| [l.kv_heads, l.qk_dim, l.v_dim]).map(|x| x as u32));
    words
}

struct Writer<W> {
    out: W,
    sum: Checksum,
}

impl<W: Write> Writer<W> {
    fn words(&mut self, words: impl IntoIterator<Item = u32>) -> io::Result<()> {
        for word in words {
            self.sum.add(word);
            self.out.write_all(&word.to_le_bytes())?;
        }
        Ok(())
    }
}

struct Reader<R> {
    input: R,
    sum: Checksum,
    /// Words that remain in the file.
    left: u64,
}

impl<R: Read> Reader<R> {
    fn word(&mut self) -> Result<u32, String> {
        self.left = self.left.checked_sub(1).ok_or("the file is cut short")?;
        let mut bytes = [0; 4];
        self.input.read_exact(&mut bytes).map_err(|e| e.to_string())?;
        let word = u32::from_le_bytes(bytes);
        self.sum.add(word);
        Ok(word)
    }

    /// Reads `count` words; the count comes from the file.
    fn words(&mut self, count: u64) -> Result<Vec<u32>, String> {
        if count > self.left {
            return Err(format!("the file declares {count} more words, but only {} are left", self.left));
        }
        (0..count).map(|_| self.word()).collect()
    }
}

/// Creates a file that only its owner can read: it contains prompts and answers.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// One prefix in a file.
struct Stored {
    salt: u64,
    tokens: Vec<u32>,
    pages: Vec<u32>,
}

impl Prefixes {
    /// Writes the kept prefixes.
    pub(super) fn save(&self, cache: &mut KvCache, fingerprint: u64, out: impl Write) -> io::Result<usize> {
        let mut out = Writer { out: io::BufWriter::with_capacity(1 << 20, out), sum: Checksum::new() };
        let (mut order, mut number) = (Vec::new(), HashMap::new());
        for &page in self.iter().flat_map(|(slot, _, tokens)| &cache.table().table(slot)[..pages(tokens.len())]) {
            number.entry(page).or_insert_with(|| {
                order.push(page);
                order.len() as u32 - 1
            });
        }
        out.words(header(cache, fingerprint))?;
        out.words([order.len() as u32, self.iter().count() as u32])?;
        for (slot, salt, tokens) in self.iter() {
            out.words(halves(salt))?;
            out.words([tokens.len() as u32])?;
            out.words(tokens.iter().copied())?;
            out.words(cache.table().table(slot)[..pages(tokens.len())].iter().map(|page| number[page]))?;
        }
        let store = cache.store_mut().map_err(io::Error::other)?;
        for page in order {
            let mut result = Ok(());
            let write = &mut |words: &[u32]| {
                if result.is_ok() {
                    result = out.words(words.iter().copied());
                }
            };
            store.read_page(page, write).map_err(io::Error::other)?;
            result?;
        }
        out.words(halves(out.sum.get()))?;
        out.out.flush()?;
        Ok(self.iter().count())
    }

    /// Reads a file of `bytes` bytes. Keeps the most recently used prefixes that fit `room` pages. Nothing changes
    /// unless the whole file is valid.
    pub(super) fn load(
        &mut self,
        cache: &mut KvCache,
        (fingerprint, vocab, max_len): (u64, usize, usize),
        (input, bytes): (impl Read, u64),
        room: usize,
    ) -> Result<usize, String> {
        let input = io::BufReader::with_capacity(1 << 20, input);
        let mut input = Reader { input, sum: Checksum::new(), left: bytes / 4 };
        if !bytes.is_multiple_of(4) {
            return Err("its size is not a multiple of 4 bytes".into());
        }
        if input.words(2).ok().as_deref() != Some(&MAGIC[..]) {
            return Err("not a file of cached prefixes".into());
        }
        let wanted = &header(cache, fingerprint)[2..];
        if input.words(wanted.len() as u64)? != wanted {
            return Err("it was made with other weights, another precision or cache type, or on another kind of \
                        processor"
                .into());
        }
        let (count, stored) = contents(&mut input, vocab, max_len)?;
        let words = cache.store().page_words();
        let rest = count as u64 * words as u64 + 2;
        if input.left != rest {
            return Err(format!("{count} pages need {rest} words, but {} are left", input.left));
        }
        let (keep, mut taken) = fitting(&stored, count, room);
        let result = read_pages(&mut input, cache, &keep, &mut taken);
        if result.is_ok() {
            for s in stored {
                if let Some(table) = s.pages.iter().map(|&i| taken[i as usize]).collect::<Option<Vec<u32>>>() {
                    let slot = cache.table_mut().open_with(&table);
                    self.keep(slot, s.salt, s.tokens, cache.table_mut());
                }
            }
        }
        taken.into_iter().flatten().for_each(|page| cache.table_mut().release(page));
        result.map(|()| self.iter().count())
    }
}

/// Reads the number of pages, and the prefixes.
fn contents<R: Read>(input: &mut Reader<R>, vocab: usize, max_len: usize) -> Result<(u32, Vec<Stored>), String> {
    let (count, prefixes) = (input.word()?, input.word()?);
    let mut stored = Vec::new();
    for _ in 0..prefixes {
        let salt = input.word()? as u64 | (input.word()? as u64) << 32;
        let len = input.word()? as usize;
        if len == 0 || len > max_len {
            return Err(format!("a prefix has {len} tokens; expected 1 to {max_len}"));
        }
        let tokens = input.words(len as u64)?;
        let table = input.words(pages(len) as u64)?;
        if let Some(token) = tokens.iter().find(|&&t| t as usize >= vocab) {
            return Err(format!("token {token} is outside the vocabulary of {vocab}"));
        }
        if let Some(page) = table.iter().find(|&&page| page >= count) {
            return Err(format!("page {page} does not exist; there are {count}"));
        }
        stored.push(Stored { salt, tokens, pages: table });
    }
    if count as u64 > input.left {
        return Err(format!("the file declares {count} pages, but only {} words are left", input.left));
    }
    Ok((count, stored))
}

/// Selects the pages to load so that the most recent prefixes fit, and makes a table for their page numbers in the
/// cache.
fn fitting(stored: &[Stored], count: u32, room: usize) -> (Vec<bool>, Vec<Option<u32>>) {
    let (mut keep, mut left) = (vec![false; count as usize], room);
    for s in stored.iter().rev() {
        let mut new: Vec<u32> = s.pages.iter().copied().filter(|&i| !keep[i as usize]).collect();
        new.sort_unstable();
        new.dedup();
        if new.len() > left {
            break;
        }
        left -= new.len();
        new.iter().for_each(|&i| keep[i as usize] = true);
    }
    (keep, vec![None; count as usize])
}

/// Reads all pages, stores those in `keep` in the cache, and checks the checksum.
fn read_pages<R: Read>(
    input: &mut Reader<R>,
    cache: &mut KvCache,
    keep: &[bool],
    taken: &mut [Option<u32>],
) -> Result<(), String> {
    let count = cache.store().page_words();
    let mut words = Vec::with_capacity(count);
    for (&keep, taken) in keep.iter().zip(taken) {
        words.clear();
        for _ in 0..count {
            words.push(input.word()?);
        }
        if keep {
            let page = cache.table_mut().take_page().ok_or("the cache is full")?;
            *taken = Some(page);
            let store = cache.store_mut().map_err(|e| e.to_string())?;
            store.write_page(page, &words).map_err(|e| e.to_string())?;
        }
    }
    let sum = input.sum.get();
    if [input.word()?, input.word()?] != halves(sum) {
        return Err("its checksum is wrong: the file is damaged".into());
    }
    Ok(())
}
