//! The compiled kernels: a fat binary made by `make cuda` from the sources in `kernels/`, for every architecture that
//! Meno supports.

/// Gives the image the alignment of a fat binary's header.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

static IMAGE: &Aligned<[u8]> = &Aligned(*include_bytes!("kernels/kernels.fatbin"));

/// Returns the fat binary.
pub(super) fn image() -> &'static [u8] {
    &IMAGE.0
}
