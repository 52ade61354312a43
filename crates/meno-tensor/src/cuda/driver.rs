//! NVIDIA's driver: an open card, its memory, and the launch of kernels. Only this file and `cards.rs` call the driver.
//!
//! All work of a card runs in one stream, in order, so that no call needs a fence. The driver reports the failure of a
//! kernel at a later call.

use super::cards::{Card, cards, check_card, message, numbers};
use super::kernels;
pub(super) use super::launch::{Arg, Launch, MatrixBox, MatrixStack, TensorMap};
use crate::device::Device;
use crate::error::Error;
use crate::tape::Dtype;
use bytemuck::Pod;
use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUresult};
use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Shared memory that a kernel may use without asking the driver.
const DEFAULT_SHARED: u32 = 48 << 10;

/// Columns of a box that TMA copies: 128 bytes.
const BOX_COLS: usize = 64;

/// An open card: its context, its one stream, and the kernels.
pub(super) struct Gpu {
    device: Device,
    pub(super) card: Card,
    context: sys::CUcontext,
    stream: sys::CUstream,
    /// One for each compiled source.
    modules: Vec<sys::CUmodule>,
    functions: Mutex<HashMap<String, Function>>,
    /// Counts allocations and frees: as long as it stays the same, so do all addresses.
    generation: AtomicU64,
}

// SAFETY: the driver's handles may be used from every thread; each call first makes the context current.
unsafe impl Send for Gpu {}
// SAFETY: as above; the driver locks its own state.
unsafe impl Sync for Gpu {}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({})", self.device, self.card.name)
    }
}

/// A kernel of the module.
#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// Dynamic shared memory that it may use.
    shared: u32,
}

#[cfg(test)]
thread_local! {
    /// The allocations and frees of this thread.
    static CHANGES: Cell<u64> = const { Cell::new(0) };
}

thread_local! {
    /// The stream that records the launches of this thread; null if they run.
    static RECORDS: Cell<sys::CUstream> = const { Cell::new(std::ptr::null_mut()) };
}

/// The cards that this process has opened. A card stays open: a context costs a quarter of a second.
static OPEN: Mutex<Vec<Arc<Gpu>>> = Mutex::new(Vec::new());

impl Gpu {
    /// Opens card `number`, or returns it if it is open.
    pub(super) fn open(number: usize) -> Result<Arc<Gpu>, Error> {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let device = Device::Cuda(number);
        if let Some(gpu) = open.iter().find(|gpu| gpu.device == device) {
            return Ok(gpu.clone());
        }
        let unavailable = |reason: String| Error::Unavailable { device, reason };
        let cards = cards().map_err(unavailable)?;
        let count = cards.len();
        let card = cards.into_iter().nth(number);
        let card = card.ok_or_else(|| unavailable(numbers(count)))?;
        check_card(&card).map_err(unavailable)?;
        let gpu = Arc::new(Gpu::start(number, card).map_err(unavailable)?);
        open.push(gpu.clone());
        Ok(gpu)
    }

    fn start(number: usize, card: Card) -> Result<Gpu, String> {
        let words = |e| message(&e);
        let handle = result::device::get(number as i32).map_err(words)?;
        // SAFETY: the device exists; its primary context stays retained until the process ends.
        let context = unsafe { result::primary_ctx::retain(handle) }.map_err(words)?;
        // SAFETY: the context is valid.
        unsafe { result::ctx::set_current(context) }.map_err(words)?;
        // Copies from and to the host run in the driver's default stream, which waits for such a stream, as this one
        // for it.
        let stream = result::stream::create(result::stream::StreamKind::Default).map_err(words)?;
        let load = |image: kernels::Image| {
            // SAFETY: the image is a complete fat binary, aligned for its header.
            let module = unsafe { result::module::load_data(image.bytes.as_ptr().cast()) };
            module.map_err(|e| format!("the kernels of {}: {}", image.name, message(&e)))
        };
        let images = kernels::images().into_iter().filter(|image| card.runs_sm90a() || !image.is_sm90a());
        let modules = images.map(load).collect::<Result<_, _>>()?;
        Ok(Gpu {
            device: Device::Cuda(number),
            card,
            context,
            stream,
            modules,
            functions: Mutex::default(),
            generation: AtomicU64::new(0),
        })
    }

    pub(super) fn device(&self) -> Device {
        self.device
    }

    /// Makes this card's context current on this thread, for the calls that follow.
    fn bind(&self) -> Result<(), Error> {
        // SAFETY: the context stays retained.
        self.checked("cuCtxSetCurrent", unsafe { result::ctx::set_current(self.context) })
    }

    fn checked<T>(&self, call: &'static str, result: Result<T, DriverError>) -> Result<T, Error> {
        result.map_err(|e| Error::Driver { device: self.device, call, reason: message(&e) })
    }

    /// Like [`Gpu::checked`]; `what` is what the call was for.
    fn checked_for<T>(
        &self,
        call: &'static str,
        what: &dyn fmt::Debug,
        result: Result<T, DriverError>,
    ) -> Result<T, Error> {
        let reason = |e| format!("{} ({what:?})", message(&e));
        result.map_err(|e| Error::Driver { device: self.device, call, reason: reason(e) })
    }

    /// Fails if this thread records. A graph holds launches, fills and copies within the card: it would miss this call,
    /// and the driver need not object.
    fn check_runs(&self, call: &'static str) -> Result<(), Error> {
        if RECORDS.get().is_null() {
            return Ok(());
        }
        Err(Error::Driver { device: self.device, call, reason: "a graph cannot hold the call".into() })
    }

    /// Waits until all work is done.
    pub(super) fn synchronize(&self) -> Result<(), Error> {
        self.check_runs("cuStreamSynchronize")?;
        self.bind()?;
        // SAFETY: the stream exists.
        self.checked("cuStreamSynchronize", unsafe { result::stream::synchronize(self.stream) })
    }

    /// Marks this place in the work of the stream.
    pub(super) fn event(self: &Arc<Self>) -> Result<Event, Error> {
        self.check_runs("cuEventRecord")?;
        self.bind()?;
        let event = self.checked("cuEventCreate", result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT))?;
        let event = Event { gpu: self.clone(), event };
        // SAFETY: the event and the stream exist.
        self.checked("cuEventRecord", unsafe { result::event::record(event.event, self.stream) })?;
        Ok(event)
    }

    /// Returns the seconds that the card takes for the work that `f` launches, by its own clock.
    pub(super) fn time(self: &Arc<Self>, f: impl FnOnce() -> Result<(), Error>) -> Result<f64, Error> {
        let start = self.event()?;
        f()?;
        let end = self.event()?;
        self.synchronize()?;
        end.seconds_since(&start)
    }

    /// Returns the free memory in bytes.
    pub(super) fn free_memory(&self) -> Result<usize, Error> {
        self.bind()?;
        Ok(self.checked("cuMemGetInfo", result::mem_get_info())?.0)
    }

    /// Allocates memory, filled with zeros.
    pub(super) fn zeroed(self: &Arc<Self>, bytes: usize, what: &'static str) -> Result<Memory, Error> {
        let memory = self.allocate(bytes, what)?;
        memory.fill(0, 0..bytes)?;
        Ok(memory)
    }

    /// Returns a number that changes whenever memory is allocated or freed.
    pub(super) fn generation(&self) -> u64 {
        // Tests run side by side on one card, each on a thread.
        #[cfg(test)]
        return CHANGES.get();
        #[cfg(not(test))]
        self.generation.load(Ordering::Relaxed)
    }

    /// Notes that memory is allocated or freed.
    fn memory_changes(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        #[cfg(test)]
        CHANGES.set(CHANGES.get() + 1);
    }

    /// Records the launches of `f`, which do not run, as a graph. Other threads go on meanwhile: the launches of this
    /// thread go to a separate stream.
    ///
    /// # Errors
    /// Fails if `f` does something that a graph cannot hold: an allocation, a copy from or to the host.
    pub(super) fn record(self: &Arc<Self>, f: impl FnOnce() -> Result<(), Error>) -> Result<Graph, Error> {
        self.bind()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        let stream = self.checked("cuStreamCreate", stream)?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream exists and records nothing yet.
        let begun = self.checked("cuStreamBeginCapture", unsafe { result::stream::begin_capture(stream, mode) });
        RECORDS.set(stream);
        let done = begun.and_then(|()| f());
        RECORDS.set(std::ptr::null_mut());
        // SAFETY: the stream records; also after a failure, which ends here.
        let recorded = unsafe { result::stream::end_capture(stream) }.map(Recorded);
        // SAFETY: nothing uses the stream any more.
        let destroyed = self.checked("cuStreamDestroy", unsafe { result::stream::destroy(stream) });
        done?;
        let recorded = self.checked("cuStreamEndCapture", recorded)?;
        destroyed?;
        // SAFETY: the graph was recorded completely; its executable form is independent of it.
        let exec = unsafe { result::graph::instantiate(recorded.0, sys::CUgraphInstantiate_flags(0)) };
        Ok(Graph { gpu: self.clone(), exec: self.checked("cuGraphInstantiate", exec)? })
    }

    /// Returns the stream for the work of this thread.
    fn stream(&self) -> sys::CUstream {
        let records = RECORDS.get();
        if records.is_null() { self.stream } else { records }
    }

    /// Allocates memory with undefined content.
    pub(super) fn allocate(self: &Arc<Self>, bytes: usize, what: &'static str) -> Result<Memory, Error> {
        self.check_runs("cuMemAlloc")?;
        self.bind()?;
        // Kernels that read 16 bytes at a time may touch the last whole 16 bytes.
        let padded = bytes.max(1).next_multiple_of(256);
        self.memory_changes();
        // SAFETY: the size is not zero.
        match unsafe { result::malloc_sync(padded) } {
            Ok(at) => Ok(Memory { gpu: self.clone(), at, bytes: padded }),
            Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
                let free = self.free_memory().ok();
                Err(Error::OutOfMemory { device: self.device, bytes, free, what })
            }
            Err(e) => self.checked("cuMemAlloc", Err(e)),
        }
    }

    /// Sets bytes in memory of this card.
    pub(super) fn fill(&self, at: u64, byte: u8, bytes: usize) -> Result<(), Error> {
        if bytes == 0 {
            return Ok(());
        }
        self.bind()?;
        // SAFETY: the range lies within memory of this card.
        let result = unsafe { result::memset_d8_async(at, byte, bytes, self.stream()) };
        self.checked("cuMemsetD8Async", result)
    }

    /// Copies values from the host to an address in memory of this card.
    pub(super) fn write<T: Pod>(&self, at: u64, values: &[T]) -> Result<(), Error> {
        if values.is_empty() {
            return Ok(());
        }
        self.check_runs("cuMemcpyHtoD")?;
        self.bind()?;
        // SAFETY: the driver checks the address, and the call returns after the values are copied.
        self.checked("cuMemcpyHtoD", unsafe { result::memcpy_htod_sync(at, values) })
    }

    /// Copies values to the host from an address in memory of this card, after all earlier work.
    pub(super) fn read<T: Pod>(&self, at: u64, values: &mut [T]) -> Result<(), Error> {
        if values.is_empty() {
            return Ok(());
        }
        self.synchronize()?;
        // SAFETY: the driver checks the address; all bytes are valid values of a Pod type.
        self.checked("cuMemcpyDtoH", unsafe { result::memcpy_dtoh_sync(values, at) })
    }

    /// Describes a matrix for TMA.
    pub(super) fn tensor_map(&self, matrix: MatrixBox) -> Result<TensorMap, Error> {
        let MatrixBox { at, rows, cols, ld, box_rows } = matrix;
        self.encode_map(&matrix, at, [cols, rows], [ld], [BOX_COLS, box_rows])
    }

    /// Describes matrices for TMA.
    pub(super) fn stack_map(&self, stack: MatrixStack) -> Result<TensorMap, Error> {
        let MatrixStack { first: MatrixBox { at, rows, cols, ld, box_rows }, count, stride } = stack;
        self.encode_map(&stack, at, [cols, rows, count], [ld, stride], [BOX_COLS, box_rows, 1])
    }

    /// Describes a tensor in bf16 and its boxes: sizes from the innermost dimension on, and the distances in elements
    /// along all others. `what` is for the error.
    fn encode_map<const N: usize, const OTHERS: usize>(
        &self,
        what: &dyn fmt::Debug,
        at: u64,
        sizes: [usize; N],
        strides: [usize; OTHERS],
        sides: [usize; N],
    ) -> Result<TensorMap, Error> {
        assert!(OTHERS + 1 == N, "invariant: the innermost elements are adjacent");
        self.bind()?;
        let mut map = TensorMap(sys::CUtensorMap { opaque: [0; 16] });
        // SAFETY: the arrays have one value for each of N dimensions, the strides one less; the driver checks all
        // values and reads nothing at the address.
        let result = unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut map.0,
                sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                N as u32,
                at as *mut c_void,
                sizes.map(|n| n as u64).as_ptr(),
                strides.map(|n| (n * Dtype::Bf16.bytes()) as u64).as_ptr(),
                sides.map(|n| n as u32).as_ptr(),
                [1; N].as_ptr(),
                sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        self.checked_for("cuTensorMapEncodeTiled", what, result.result())?;
        Ok(map)
    }

    /// Runs a kernel after all earlier work.
    pub(super) fn launch(&self, name: &str, launch: Launch, args: &mut [Arg]) -> Result<(), Error> {
        let [x, y] = launch.grid;
        if x == 0 || y == 0 {
            return Ok(()); // no rows
        }
        self.bind()?;
        let shared = u32::try_from(launch.shared).expect("invariant: shared memory fits a block");
        let function = self.function(name, shared)?;
        if cfg!(debug_assertions) {
            self.check_args(name, function, args);
        }
        let grid = [x, y].map(|n| u32::try_from(n).expect("invariant: a grid fits 32 bits")).into();
        let mut params: Vec<*mut c_void> = args.iter_mut().map(Arg::address).collect();
        let (grid, block): ((u32, u32), _) = (grid, (launch.threads, 1, 1));
        // SAFETY: the arguments have the types of the kernel's parameters (checked in debug builds), and their
        // pointers are to memory of this card that outlives the work of the stream.
        let result = unsafe {
            result::launch_kernel(function.handle, (grid.0, grid.1, 1), block, shared, self.stream(), &mut params)
        };
        self.checked_for("cuLaunchKernel", &(name, launch), result)
    }

    /// Returns a kernel that may use `shared` bytes of dynamic shared memory.
    fn function(&self, name: &str, shared: u32) -> Result<Function, Error> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let function = match functions.get(name) {
            Some(&function) => function,
            None => {
                let c_name = CString::new(name).expect("invariant: a kernel's name has no zero byte");
                // SAFETY: the modules are loaded.
                let find = |&module| unsafe { result::module::get_function(module, c_name.clone()) }.ok();
                let handle = self.modules.iter().find_map(find);
                let handle = handle.unwrap_or_else(|| panic!("invariant: kernel {name} exists"));
                functions.insert(name.into(), Function { handle, shared: DEFAULT_SHARED });
                Function { handle, shared: DEFAULT_SHARED }
            }
        };
        if shared <= function.shared {
            return Ok(function);
        }
        let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function exists.
        let result = unsafe { result::function::set_function_attribute(function.handle, attribute, shared as i32) };
        self.checked_for("cuFuncSetAttribute", &(name, shared), result)?;
        let function = Function { shared, ..function };
        functions.insert(name.into(), function);
        Ok(function)
    }

    /// Panics unless the arguments have the sizes of the kernel's parameters.
    fn check_args(&self, name: &str, function: Function, args: &[Arg]) {
        for index in 0..=args.len() {
            let (mut offset, mut size) = (0, 0);
            // SAFETY: the function exists; the call writes two integers.
            let found = unsafe { sys::cuFuncGetParamInfo(function.handle, index, &mut offset, &mut size) };
            let size = found.result().ok().map(|()| size);
            let expected = args.get(index).map(Arg::bytes);
            assert!(size == expected, "invariant: parameter {index} of {name} has {size:?} bytes, not {expected:?}");
        }
    }
}

/// Launches as the driver recorded them. Dropping them destroys them.
struct Recorded(sys::CUgraph);

impl Drop for Recorded {
    fn drop(&mut self) {
        // SAFETY: the graph is destroyed once.
        _ = unsafe { result::graph::destroy(self.0) };
    }
}

/// Recorded launches with their arguments.
pub(super) struct Graph {
    gpu: Arc<Gpu>,
    exec: sys::CUgraphExec,
}

// SAFETY: the handle may be used from every thread; each call first makes the context current.
unsafe impl Send for Graph {}

impl Graph {
    /// Runs the recorded launches after all earlier work.
    pub(super) fn launch(&self) -> Result<(), Error> {
        self.gpu.bind()?;
        // SAFETY: the graph is complete; the caller keeps the memory that its launches use.
        self.gpu.checked("cuGraphLaunch", unsafe { result::graph::launch(self.exec, self.gpu.stream) })
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.gpu.bind().is_ok() {
            // SAFETY: the graph is destroyed once; the driver waits for a launch that runs.
            _ = unsafe { result::graph::exec_destroy(self.exec) };
        }
    }
}

/// Memory of a card. Dropping it frees it.
pub(super) struct Memory {
    gpu: Arc<Gpu>,
    at: u64,
    bytes: usize,
}

impl Memory {
    pub(super) fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }
    /// Returns its address.
    pub(super) fn at(&self) -> u64 {
        self.at
    }
    /// Returns its size in bytes, a multiple of 256.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
    fn check(&self, range: &std::ops::Range<usize>) {
        assert!(range.start <= range.end && range.end <= self.bytes, "invariant: {range:?} within {}", self.bytes);
    }
    /// Copies values from the host to byte `offset`.
    pub(super) fn write<T: Pod>(&self, offset: usize, values: &[T]) -> Result<(), Error> {
        self.check(&(offset..offset + size_of_val(values)));
        self.gpu.write(self.at + offset as u64, values)
    }
    /// Copies values to the host from byte `offset`, after all earlier work.
    pub(super) fn read<T: Pod>(&self, offset: usize, values: &mut [T]) -> Result<(), Error> {
        self.check(&(offset..offset + size_of_val(values)));
        self.gpu.read(self.at + offset as u64, values)
    }
    /// Copies the first `bytes` bytes of `from`.
    pub(super) fn copy_from(&self, from: &Memory, bytes: usize) -> Result<(), Error> {
        self.copy_within(from, 0, 0, bytes)
    }
    /// Copies `bytes` bytes from byte `start` of `from` to byte `to`.
    pub(super) fn copy_within(&self, from: &Memory, start: usize, to: usize, bytes: usize) -> Result<(), Error> {
        self.check(&(to..to + bytes));
        from.check(&(start..start + bytes));
        self.gpu.bind()?;
        let (to, from) = (self.at + to as u64, from.at + start as u64);
        // SAFETY: both ranges lie within memory of this card.
        let result = unsafe { result::memcpy_dtod_async(to, from, bytes, self.gpu.stream()) };
        self.gpu.checked("cuMemcpyDtoDAsync", result)
    }
    /// Sets a range of bytes.
    pub(super) fn fill(&self, byte: u8, range: std::ops::Range<usize>) -> Result<(), Error> {
        self.check(&range);
        self.gpu.fill(self.at + range.start as u64, byte, range.len())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.gpu.memory_changes();
        // A failure means that the context is lost, and the memory with it.
        if self.gpu.bind().is_ok() {
            // SAFETY: the memory was allocated by `allocate` and is freed once; the driver waits for work that uses it.
            _ = unsafe { result::free_sync(self.at) };
        }
    }
}

/// A place in the work of the stream.
pub(super) struct Event {
    gpu: Arc<Gpu>,
    event: sys::CUevent,
}

// SAFETY: the driver's functions take an event from any thread.
unsafe impl Send for Event {}

impl Event {
    /// Returns the card's seconds between an earlier event and this one. All work up to here is done.
    pub(super) fn seconds_since(&self, earlier: &Event) -> Result<f64, Error> {
        self.gpu.bind()?;
        // SAFETY: both events exist and were recorded.
        let milliseconds = unsafe { result::event::elapsed(earlier.event, self.event) };
        Ok(f64::from(self.gpu.checked("cuEventElapsedTime", milliseconds)?) / 1e3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // A failure means that the context is lost, and the event with it.
        if self.gpu.bind().is_ok() {
            // SAFETY: the event is not used again.
            _ = unsafe { result::event::destroy(self.event) };
        }
    }
}

/// The suffix of kernels for an element type.
pub(super) fn suffix(dtype: Dtype) -> &'static str {
    match dtype {
        Dtype::F32 => "f32",
        Dtype::Bf16 => "bf16",
    }
}
