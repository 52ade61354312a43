//! The inside of a sandbox: what its init and the program do between clone and exec.
//!
//! A child of a multi-threaded process may find the allocator locked forever. Nothing here allocates: all paths, bytes
//! and the system call filter are prepared beforehand (`ChildSetup`).

use super::layers::{At, Layer};
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, Scope,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid, chdir, mkdir, pivot_root, setsid, symlinkat, write};
use seccompiler::BpfProgram;
use std::ffi::{CStr, CString};
use std::io;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;

/// Everything that the child needs.
pub(super) struct ChildSetup {
    /// The user and group of programs when Meno runs as root.
    pub(super) user: Option<(Uid, Gid)>,
    /// The file system, in build order.
    pub(super) entries: Vec<Entry>,
    /// The sources of bind mounts, opened by the child; same length as `entries`.
    pub(super) sources: Vec<Option<OwnedFd>>,
    /// Mount options of the root and the working directory.
    pub(super) root_options: CString,
    pub(super) work_options: CString,
    pub(super) limits: [(Resource, u64); 7],
    pub(super) system_calls: &'static BpfProgram,
    pub(super) program: CString,
    pub(super) arguments: Strings,
    pub(super) environment: Strings,
}

/// A list of strings as exec expects it: pointers that end with a null.
pub(super) struct Strings {
    pointers: Vec<*const libc::c_char>,
    /// The strings behind the pointers.
    _strings: Vec<CString>,
}

impl Strings {
    pub(super) fn new(strings: Vec<CString>) -> Strings {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Strings { pointers, _strings: strings }
    }
}

/// A part of a sandbox's file system; paths are relative to its root.
pub(super) enum Entry {
    Directory(CString),
    Link {
        path: CString,
        target: CString,
    },
    File {
        path: CString,
        bytes: Vec<u8>,
    },
    /// A file or directory of the machine, including everything mounted below it.
    Bind {
        path: CString,
        source: CString,
        directory: bool,
        device: bool,
    },
}

/// The descriptors that the child keeps, numbered from 0 in this order: standard input, output and error, the read end
/// of the lifeline, the write end of the error pipe.
pub(super) type Streams = [RawFd; 5];

const LIFELINE: RawFd = 3;
const ERRORS: RawFd = 4;

/// Where the file system is built: any directory that every machine has, except /proc.
const BASE: &CStr = c"/dev";
/// The only writable directory of the program.
pub(super) const WORK: &CStr = c"/work";

/// Runs the init of a sandbox, process 1 of its namespaces. Sets up all layers, starts the program as a separate
/// process, reaps dead processes, and ends when the program ends or Meno is gone. The kernel then kills all remaining
/// processes.
pub(super) fn init(plan: &mut ChildSetup, streams: Streams) -> ! {
    let code = arrange(streams).and_then(|()| enter(plan)).and_then(wait_and_reap);
    exit(code)
}

/// Ends the process with an exit code, or reports what failed.
fn exit(code: io::Result<i32>) -> ! {
    let code = code.unwrap_or_else(|error| {
        let number = error.raw_os_error().unwrap_or(libc::EINVAL).to_ne_bytes();
        // SAFETY: the descriptor is open in this process after `arrange`; before, the write fails and reports nothing.
        let _ = write(unsafe { BorrowedFd::borrow_raw(ERRORS) }, &number);
        127
    });
    // SAFETY: ends the process without running the parent's exit handlers.
    unsafe { libc::_exit(code) }
}

/// Moves the descriptors to 0 … 4 and closes all others, which belong to Meno and to other sandboxes.
fn arrange(streams: Streams) -> io::Result<()> {
    let mut above = [0; 5];
    for (above, stream) in above.iter_mut().zip(streams) {
        // SAFETY: duplicates an open descriptor to a number above the five that are assigned below.
        *above = Errno::result(unsafe { libc::fcntl(stream, libc::F_DUPFD, 16) }).at(Layer::Init)?;
    }
    for (number, &above) in (0..).zip(&above) {
        // SAFETY: no value of this process owns the numbers 0 … 4 any more: it never returns to Meno's code.
        Errno::result(unsafe { libc::dup2(above, number) }).at(Layer::Init)?;
    }
    close_from(ERRORS + 1, 0)
}

/// Closes the descriptors from `first` upwards. With `CLOSE_RANGE_CLOEXEC`, exec closes them instead.
fn close_from(first: RawFd, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: this process does not use these descriptors afterwards.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, flags) })
        .at(Layer::Descriptors)?;
    Ok(())
}

/// Sets up all layers and starts the program.
fn enter(plan: &mut ChildSetup) -> io::Result<Pid> {
    // SAFETY: `arrange` opened it.
    let lifeline = unsafe { BorrowedFd::borrow_raw(LIFELINE) };
    // Meno maps the users of the namespace and then sends a byte.
    if nix::unistd::read(lifeline, &mut [0]).at(Layer::Maps)? == 0 {
        return Err(io::Error::from_raw_os_error(libc::ECANCELED)).at(Layer::Maps);
    }
    setsid().at(Layer::Init)?;
    // A huge page stays whole while a small part of it is mapped, and the kernel counts only that part.
    prctl::set_thp_disable(true).at(Layer::Limits)?;
    umask(Mode::from_bits_truncate(0o022));
    // When memory runs out, the kernel should kill programs first. A machine may forbid this request.
    let _ =
        std::fs::File::options().write(true).open("/proc/self/oom_score_adj").and_then(|mut f| f.write_all(b"1000"));
    build(plan)?;
    // Closes the sources of mounts. Their owners are never dropped: this process ends with `_exit`.
    close_from(ERRORS + 1, 0)?;
    drop_privileges().at(Layer::User)?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.at(Layer::Init)? {
        Some(program) => Ok(program),
        None => exit(run(plan)),
    }
}

/// Builds the file system in memory: the job's files and read-only views of what the tool needs.
fn build(plan: &mut ChildSetup) -> io::Result<()> {
    let none = None::<&CStr>;
    let hardened = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).at(Layer::Files)?;
    // Opens the sources as Meno's user, who may enter directories that user nobody may not.
    for (entry, opened) in plan.entries.iter().zip(&mut plan.sources) {
        if let Entry::Bind { source, .. } = entry {
            *opened = Some(open(source.as_c_str(), OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).at(Layer::Files)?);
        }
    }
    if let Some((user, group)) = plan.user {
        change_user(user, group).at(Layer::User)?;
        // After the change of user, /proc/self belongs to root.
        prctl::set_dumpable(true).at(Layer::User)?;
    }
    mount(Some(c"tmpfs"), BASE, Some(c"tmpfs"), hardened, Some(plan.root_options.as_c_str())).at(Layer::Mounts)?;
    chdir(BASE).at(Layer::Mounts)?;
    for (entry, source) in plan.entries.iter().zip(&plan.sources) {
        create(entry, source.as_ref())?;
    }
    mount(Some(c"tmpfs"), c"work", Some(c"tmpfs"), hardened, Some(plan.work_options.as_c_str())).at(Layer::Mounts)?;
    // The new root is mounted over the old one until the old one is detached.
    pivot_root(c".", c".").at(Layer::Root)?;
    umount2(c".", MntFlags::MNT_DETACH).at(Layer::Root)?;
    restrict(c"/", libc::MOUNT_ATTR_RDONLY, 0).at(Layer::Root)?;
    chdir(WORK).at(Layer::Root)
}

/// Changes the user and groups of this process. Uses raw calls, because libc's functions wait for all threads of Meno.
fn change_user(user: Uid, group: Gid) -> io::Result<()> {
    let (user, group) = (user.as_raw(), group.as_raw());
    // SAFETY: the calls take numbers and an empty list.
    unsafe {
        Errno::result(libc::syscall(libc::SYS_setgroups, 0usize, ptr::null::<libc::gid_t>()))?;
        Errno::result(libc::syscall(libc::SYS_setresgid, group, group, group))?;
        Errno::result(libc::syscall(libc::SYS_setresuid, user, user, user))?;
    }
    Ok(())
}

/// Creates one entry, relative to the working directory.
fn create(entry: &Entry, source: Option<&OwnedFd>) -> io::Result<()> {
    let create = |path: &CString, mode| {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        open(path.as_c_str(), flags, Mode::from_bits_truncate(mode))
    };
    match entry {
        Entry::Directory(path) => mkdir(path.as_c_str(), Mode::from_bits_truncate(0o755)).at(Layer::Mounts),
        Entry::Link { path, target } => {
            symlinkat(target.as_c_str(), nix::fcntl::AT_FDCWD, path.as_c_str()).at(Layer::Mounts)
        }
        Entry::File { path, bytes } => {
            std::fs::File::from(create(path, 0o555).at(Layer::Mounts)?).write_all(bytes).at(Layer::Mounts)
        }
        Entry::Bind { path, directory, device, .. } => {
            match directory {
                true => mkdir(path.as_c_str(), Mode::from_bits_truncate(0o755)).at(Layer::Mounts)?,
                false => drop(create(path, 0o444).at(Layer::Mounts)?),
            }
            let Some(source) = source else { return Err(io::Error::from_raw_os_error(libc::EBADF)).at(Layer::Files) };
            let mut name = [0; 32];
            let name = descriptor(&mut name, source.as_raw_fd()).at(Layer::Files)?;
            let (none, flags) = (None::<&CStr>, MsFlags::MS_BIND | MsFlags::MS_REC);
            mount(Some(name), path.as_c_str(), none, flags, none).at(Layer::Files)?;
            let node = if *device { 0 } else { libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV };
            restrict(path, libc::MOUNT_ATTR_NOSUID | node, libc::AT_RECURSIVE as libc::c_uint).at(Layer::Files)
        }
    }
}

/// The path of a descriptor.
fn descriptor(buffer: &mut [u8; 32], number: RawFd) -> io::Result<&CStr> {
    write!(&mut buffer[..], "/proc/self/fd/{number}")?;
    CStr::from_bytes_until_nul(buffer).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Adds attributes to a mount.
fn restrict(path: &CStr, attributes: u64, flags: libc::c_uint) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path and the attributes outlive the call, which reads `size` bytes of the attributes.
    let done =
        unsafe { libc::syscall(libc::SYS_mount_setattr, libc::AT_FDCWD, path.as_ptr(), flags, &attributes, size) };
    Errno::result(done)?;
    Ok(())
}

/// Drops all capabilities permanently, and prevents new ones through set-user-id files.
fn drop_privileges() -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    prctl::set_no_new_privs()?;
    for capability in 0..64 {
        // SAFETY: takes numbers only. The first number above the kernel's last capability ends the loop.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            break;
        }
    }
    let (header, none) = (Header { version: 0x2008_0522, pid: 0 }, [0u32; 6]);
    // SAFETY: version 3 of the call reads the header and two sets of three numbers.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &header, &none) })?;
    // No process of this user can trace this one or read its memory, which is a copy of Meno's.
    Ok(prctl::set_dumpable(false)?)
}

/// Copies this process; returns `None` in the copy. Skips libc's fork handlers, which may wait for locks that Meno's
/// threads held at the time of the clone.
///
/// # Safety
///
/// The copy must not allocate, and must end with exec or `_exit`.
pub(super) unsafe fn fork() -> nix::Result<Option<Pid>> {
    // SAFETY: without a separate stack, the child continues as after fork.
    unsafe { clone(0, ptr::null_mut()) }
}

/// `fork` with clone flags; `pidfd` receives the descriptor if the flags request it.
///
/// # Safety
///
/// As for `fork`; `pidfd` must also be valid if the flags contain `CLONE_PIDFD`.
pub(super) unsafe fn clone(flags: libc::c_int, pidfd: *mut RawFd) -> nix::Result<Option<Pid>> {
    let flags = libc::c_long::from(flags | libc::SIGCHLD);
    // SAFETY: the caller guarantees the conditions above; the other arguments are unused with these flags.
    let pid = Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, pidfd, 0usize, 0usize) })?;
    Ok((pid != 0).then(|| Pid::from_raw(pid as libc::pid_t)))
}

/// Waits for the program to end, reaps all other dead processes, and returns the program's exit code (128 and above: a
/// signal). Returns immediately when the lifeline breaks, that is, when Meno is gone.
fn wait_and_reap(program: Pid) -> io::Result<i32> {
    // Closes the init's ends, so that readers outside see the end of a pipe when the program closes it.
    for stream in [0, 1, 2, ERRORS] {
        // SAFETY: this process does not use them afterwards.
        unsafe { libc::close(stream) };
    }
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    let signals = SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    // SAFETY: `arrange` opened it.
    let lifeline = unsafe { BorrowedFd::borrow_raw(LIFELINE) };
    loop {
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
            match status {
                WaitStatus::Exited(pid, code) if pid == program => return Ok(code),
                WaitStatus::Signaled(pid, signal, _) if pid == program => return Ok(128 + signal as i32),
                WaitStatus::StillAlive => break,
                _ => {}
            }
        }
        let mut events = [PollFd::new(lifeline, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut events, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        if events[0].any() == Some(true) {
            return Ok(128 + libc::SIGKILL);
        }
        while let Ok(Some(_)) = signals.read_signal() {}
    }
}

/// The last steps in the program's process; returns only if the program cannot start.
fn run(plan: &mut ChildSetup) -> io::Result<i32> {
    setsid().at(Layer::Init)?;
    // SAFETY: the default action runs no code of this process.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.at(Layer::Init)?;
    close_from(LIFELINE, libc::CLOSE_RANGE_CLOEXEC)?;
    lock_files().at(Layer::Landlock)?;
    // Raises the stack limit, so that deep recursion ends at the memory limit and not at 8 MiB of stack.
    let (_, most) = getrlimit(Resource::RLIMIT_STACK).at(Layer::Limits)?;
    setrlimit(Resource::RLIMIT_STACK, most, most).at(Layer::Limits)?;
    plan.limits.iter().try_for_each(|&(what, most)| setrlimit(what, most, most)).at(Layer::Limits)?;
    SigSet::empty().thread_set_mask().at(Layer::Init)?;
    seccompiler::apply_filter(plan.system_calls).map_err(|_| io::Error::last_os_error()).at(Layer::SystemCalls)?;
    let (arguments, environment) = (plan.arguments.pointers.as_ptr(), plan.environment.pointers.as_ptr());
    // SAFETY: both lists end with a null and point to strings of the plan, which is alive.
    unsafe { libc::execve(plan.program.as_ptr(), arguments, environment) };
    Err(io::Error::last_os_error())
}

/// Applies Landlock as a second layer around the same files: only the working directory is writable. Rights of later
/// Landlock versions are also restricted if the kernel supports them.
fn lock_files() -> io::Result<()> {
    let failed = |_| io::Error::last_os_error();
    let path = |path: &CStr| open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(io::Error::from);
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .map_err(failed)?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .map_err(failed)?
        .scope(Scope::from_all(ABI::V6))
        .map_err(failed)?
        .create()
        .map_err(failed)?;
    let (root, work, null) = (path(c"/")?, path(WORK)?, path(c"/dev/null")?);
    ruleset
        .add_rule(PathBeneath::new(root, AccessFs::from_read(ABI::V1)))
        .and_then(|set| set.add_rule(PathBeneath::new(work, AccessFs::from_all(ABI::V5))))
        .and_then(|set| set.add_rule(PathBeneath::new(null, AccessFs::ReadFile | AccessFs::WriteFile)))
        .and_then(|set| set.restrict_self())
        .map(drop)
        .map_err(failed)
}
