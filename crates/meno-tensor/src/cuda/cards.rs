//! The cards of this machine and their driver.

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute};
#[cfg(any(test, feature = "testing"))]
use std::ffi::CString;

/// The oldest version of the driver's interface that loads the compiled kernels: driver 580 (CUDA 13.0).
const MIN_DRIVER: i32 = 13_000;
/// The oldest version that reads their PTX, which is as new as the compiler.
const MIN_DRIVER_FOR_PTX: i32 = 13_030;
/// The latest compute capability that the kernels are compiled for. Later cards take the PTX.
const LAST_COMPILED: (i32, i32) = (9, 0);
/// The oldest compute capability that the kernels are compiled for (A100, RTX 30).
const MIN_COMPUTE: (i32, i32) = (8, 0);

/// What the driver says about a card.
#[derive(Clone, Debug)]
pub struct Card {
    /// Its name, e.g. "NVIDIA H100 80GB HBM3".
    pub name: String,
    /// Compute capability: major and minor version.
    pub compute: (i32, i32),
    /// Memory in bytes.
    pub memory: usize,
    /// Number of streaming multiprocessors.
    pub multiprocessors: i32,
    /// Peak bandwidth of the memory in bytes per second.
    pub bandwidth: f64,
    /// Peak of dense bf16 products with f32 sums, in floating-point operations per second, where it is known.
    pub bf16_flops: Option<f64>,
    /// The version of the driver's interface, e.g. 13000 for CUDA 13.0.
    pub driver: i32,
}

/// Returns the cards of this machine.
///
/// # Errors
/// Returns the reason if there is no driver or no card.
pub fn cards() -> Result<Vec<Card>, String> {
    // cudarc panics if the library is missing.
    if !driver_is_installed() {
        return Err("NVIDIA's driver (libcuda) is not installed".into());
    }
    result::init().map_err(|e| message(&e))?;
    let driver = driver_version().map_err(|e| message(&e))?;
    let count = result::device::get_count().map_err(|e| message(&e))?;
    (0..count).map(|ordinal| card(ordinal, driver).map_err(|e| message(&e))).collect()
}

/// Returns true if the driver's library can be loaded.
pub(crate) fn driver_is_installed() -> bool {
    // SAFETY: opens a library by its name and closes it.
    unsafe { sys::is_culib_present() }
}

/// Loads a library that replaces the driver's: one with the same name that is loaded already is found first.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn preload_driver(library: &std::path::Path) {
    let path = CString::new(library.as_os_str().as_encoded_bytes()).expect("invariant: a path has no zero byte");
    // SAFETY: the path is a C string; the library stays loaded.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    assert!(!handle.is_null(), "{} cannot be loaded", library.display());
}

fn driver_version() -> Result<i32, DriverError> {
    let mut version = 0;
    // SAFETY: writes one integer.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result()?;
    Ok(version)
}

fn card(ordinal: i32, driver: i32) -> Result<Card, DriverError> {
    let device = result::device::get(ordinal)?;
    // SAFETY: the device exists.
    let get = |attribute| unsafe { result::device::get_attribute(device, attribute) };
    let compute = (
        get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        get(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    let multiprocessors = get(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
    let clock = 1e3 * get(Attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)? as f64;
    let (khz, bits) = (
        get(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)?,
        get(Attribute::CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)?,
    );
    Ok(Card {
        name: result::device::get_name(device)?,
        compute,
        // SAFETY: the device exists.
        memory: unsafe { result::device::total_mem(device) }?,
        multiprocessors,
        // Two transfers per clock.
        bandwidth: 2.0 * khz as f64 * 1e3 * bits as f64 / 8.0,
        bf16_flops: flops_per_cycle(compute).map(|flops| multiprocessors as f64 * clock * flops),
        driver,
    })
}

impl Card {
    /// Returns true if it runs the kernels for compute capability 9.0 alone, which use its own instructions.
    pub(super) fn runs_sm90a(&self) -> bool {
        self.compute == (9, 0)
    }
}

/// Returns the bf16 operations per cycle of a multiprocessor, from the white papers of A100, GA102, AD102 and H100;
/// `None` for later cards.
fn flops_per_cycle(compute: (i32, i32)) -> Option<f64> {
    match compute {
        (8, 0) => Some(2048.0),
        (8, _) => Some(512.0),
        (9, 0) => Some(4096.0),
        _ => None,
    }
}

/// Returns the driver's words for an error.
pub(super) fn message(error: &DriverError) -> String {
    let text = error.error_string().map(|text| text.to_string_lossy().into_owned());
    text.unwrap_or_else(|_| format!("error {}", error.0 as u32))
}

/// Names the cards of a machine that has `count`.
pub(super) fn numbers(count: usize) -> String {
    match count {
        1 => "this machine has 1 card, cuda:0".into(),
        _ => format!("this machine has {count} cards, cuda:0 to cuda:{}", count.saturating_sub(1)),
    }
}

/// Returns why a card cannot be used.
pub(super) fn check_card(card: &Card) -> Result<(), String> {
    let least = if card.compute > LAST_COMPILED { MIN_DRIVER_FOR_PTX } else { MIN_DRIVER };
    if card.driver < least {
        let version = |v: i32| format!("{}.{}", v / 1000, v % 1000 / 10);
        let (has, needs, name) = (version(card.driver), version(least), &card.name);
        return Err(format!(
            "its driver supports CUDA {has}, Meno needs {needs} or later for {name}: update the driver"
        ));
    }
    if card.compute < MIN_COMPUTE {
        let (major, minor) = card.compute;
        return Err(format!("{} has compute capability {major}.{minor}, Meno needs 8.0 or later", card.name));
    }
    Ok(())
}
