//! The Linux side of the sandbox.
//!
//! Between fork and exec only system calls are made, on memory that was prepared before: the parent has threads.

use super::{End, Limits, Outcome};
use crate::error::Error;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Whom programs run as when Meno runs as root: a limit on processes does not hold for root.
const NOBODY: u32 = 65534;

/// Readable in the cage, beside the interpreter's own directory.
const READABLE: [&CStr; 9] =
    [c"/usr", c"/bin", c"/lib", c"/lib64", c"/etc", c"/opt", c"/dev/null", c"/dev/zero", c"/dev/urandom"];

/// Landlock's rights (`LANDLOCK_ACCESS_FS_*`): execute, read file, read directory.
const READ: u64 = 0b1101;
/// All rights over files that its first version knows.
const ALL: u64 = (1 << 13) - 1;

/// What the child needs, as C wants it.
struct Plan {
    user: u32,
    group: u32,
    root: bool,
    uid_map: CString,
    gid_map: CString,
    /// Where the file system in memory is mounted; the program's directory.
    work: CString,
    mount_options: CString,
    readable: Vec<CString>,
    limits: [(libc::c_int, u64); 6],
}

impl Plan {
    fn new(work: &Path, readable: &[&Path], limits: &Limits) -> Plan {
        // SAFETY: these calls only return numbers.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let root = uid == 0;
        let (user, group) = if root { (NOBODY, NOBODY) } else { (uid, gid) };
        let c = |text: String| CString::new(text).expect("invariant: there is no NUL in it");
        let path = |p: &Path| CString::new(p.as_os_str().as_bytes()).expect("invariant: paths hold no NUL");
        Plan {
            user,
            group,
            root,
            uid_map: c(format!("{user} {user} 1")),
            gid_map: c(format!("{group} {group} 1")),
            work: path(work),
            mount_options: c(format!("size={},nr_inodes=1000,mode=700", limits.files_bytes)),
            readable: readable.iter().map(|p| path(p)).collect(),
            limits: [
                (libc::RLIMIT_CPU as libc::c_int, limits.cpu_seconds),
                (libc::RLIMIT_AS as libc::c_int, limits.memory_bytes),
                (libc::RLIMIT_FSIZE as libc::c_int, limits.output_bytes),
                (libc::RLIMIT_NPROC as libc::c_int, limits.processes),
                (libc::RLIMIT_NOFILE as libc::c_int, 64),
                (libc::RLIMIT_CORE as libc::c_int, 0),
            ],
        }
    }
}

/// The error of a system call that returned a negative number.
fn check(result: impl Into<i64>) -> std::io::Result<i64> {
    match result.into() {
        n if n < 0 => Err(std::io::Error::last_os_error()),
        n => Ok(n),
    }
}

/// Writes a file of /proc.
fn put(path: &CStr, text: &CStr) -> std::io::Result<()> {
    // SAFETY: both are C strings; the descriptor is closed by exec or by the relay.
    unsafe {
        let fd = check(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        check(libc::write(fd as i32, text.as_ptr().cast(), text.to_bytes().len()) as i64)?;
    }
    Ok(())
}

/// Leaves everything that a program could reach. Runs in the child of a fork: only system calls.
fn enter(plan: &Plan) -> std::io::Result<()> {
    // SAFETY: system calls with constants, C strings and structures that outlive them.
    unsafe {
        check(libc::setsid())?;
        if plan.root {
            check(libc::setgroups(0, std::ptr::null()))?;
            check(libc::setresgid(plan.group, plan.group, plan.group))?;
            check(libc::setresuid(plan.user, plan.user, plan.user))?;
            // Changing the user made /proc/self root's.
            check(libc::prctl(libc::PR_SET_DUMPABLE, 1))?;
        }
        // A killed Meno leaves no program behind.
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        let spaces = libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS;
        check(libc::unshare(spaces))?;
        put(c"/proc/self/setgroups", c"deny")?;
        put(c"/proc/self/uid_map", &plan.uid_map)?;
        put(c"/proc/self/gid_map", &plan.gid_map)?;
        let none = std::ptr::null::<libc::c_char>();
        check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        let (tmpfs, options) = (c"tmpfs".as_ptr(), plan.mount_options.as_ptr());
        check(libc::mount(tmpfs, plan.work.as_ptr(), tmpfs, flags, options.cast()))?;
        check(libc::chdir(plan.work.as_ptr()))?;
        // The first child of this process is the init of the new process namespace: all die with it.
        if check(libc::fork())? != 0 {
            relay();
        }
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        lock_files(plan)?;
        for &(what, most) in &plan.limits {
            let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
            check(libc::setrlimit(what as _, &limit))?;
        }
    }
    Ok(())
}

/// Waits for the program and ends as it did. Killing this process kills the program.
///
/// # Safety
/// Only in the child of a fork: the process ends here.
unsafe fn relay() -> ! {
    let mut status = 0;
    // SAFETY: system calls; every descriptor of this process is closed, and none is used after.
    unsafe {
        libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0u32);
        while libc::wait(&mut status) < 0 && *libc::__errno_location() == libc::EINTR {}
        libc::_exit(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) })
    }
}

/// Landlock: nothing outside `work` can be written, nothing outside the readable directories read.
fn lock_files(plan: &Plan) -> std::io::Result<()> {
    let rules = [ALL];
    // SAFETY: `struct landlock_ruleset_attr` begins with the handled rights, a u64; its size tells how much there is.
    let ruleset =
        check(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, rules.as_ptr(), size_of_val(&rules), 0u32) })?
            as i32;
    let allow = |path: &CStr, rights: u64| -> std::io::Result<()> {
        // SAFETY: a C string; the descriptor is closed by exec.
        let fd = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
        if fd < 0 {
            return Ok(()); // not on this machine: nothing to allow
        }
        // `struct landlock_path_beneath_attr` is packed: a u64 and an i32.
        let mut rule = [0u8; 12];
        rule[..8].copy_from_slice(&rights.to_ne_bytes());
        rule[8..].copy_from_slice(&fd.to_ne_bytes());
        // SAFETY: the rule is laid out as above and outlives the call.
        check(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset, 1u32, rule.as_ptr(), 0u32) })?;
        Ok(())
    };
    for path in READABLE {
        // Rights of directories cannot be given to a device.
        let file = path.to_bytes().starts_with(b"/dev/");
        allow(path, if file { READ & !(1 << 3) } else { READ })?;
    }
    plan.readable.iter().try_for_each(|path| allow(path, READ))?;
    allow(&plan.work, ALL)?;
    // SAFETY: a descriptor made above.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0u32) })?;
    Ok(())
}

/// Runs `program` in a cage of its own.
pub(super) fn run(interpreter: &Path, limits: &Limits, program: &str, input: &str) -> Result<Outcome, Error> {
    let failed = |what: &str, e: std::io::Error| Error::Sandbox(format!("{what}: {e}"));
    let dir = ScratchDir::new().map_err(|e| failed("a temporary directory", e))?;
    let file = |name: &str, text: &str| -> std::io::Result<std::path::PathBuf> {
        let path = dir.0.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
        Ok(path)
    };
    let (source, input) = file("program", program)
        .and_then(|source| Ok((source, File::open(file("input", input)?)?)))
        .map_err(|e| failed("writing the program", e))?;
    let output = File::options().create(true).truncate(true).read(true).write(true).open(dir.0.join("output"));
    let output = output.map_err(|e| failed("the file of the output", e))?;
    let work = dir.0.join("work");
    // The interpreter's libraries lie beside its directory: /home/me/python/{bin,lib}.
    let home = interpreter.parent().and_then(Path::parent).filter(|p| p.parent().is_some());
    let plan = Plan::new(&work, &[Some(dir.0.as_path()), home].into_iter().flatten().collect::<Vec<_>>(), limits);
    let mut command = Command::new(interpreter);
    command.arg(&source).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", &work);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONHASHSEED", "0").env("OPENBLAS_NUM_THREADS", "1");
    command.stdin(input).stdout(output.try_clone().map_err(|e| failed("the output", e))?).stderr(Stdio::null());
    // SAFETY: `enter` makes system calls only, on memory prepared before the fork.
    unsafe { command.pre_exec(move || enter(&plan)) };
    let mut child = command.spawn().map_err(|e| {
        failed("it could not be set up (it needs Linux 5.13 or later with user namespaces and Landlock)", e)
    })?;
    let start = Instant::now();
    let status = loop {
        match child.try_wait().map_err(|e| failed("waiting for the program", e))? {
            Some(status) => break Some(status),
            None if start.elapsed() > limits.wall => {
                child.kill().and_then(|()| child.wait()).map_err(|e| failed("ending the program", e))?;
                break None;
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let end = match status.map(|s| s.code().unwrap_or_else(|| 128 + s.signal().unwrap_or(0))) {
        Some(0) => End::Done,
        Some(code) => End::Failed(code),
        None => End::OutOfTime,
    };
    Ok(Outcome { output: read_back(output, limits.output_bytes).map_err(|e| failed("reading the output", e))?, end })
}

/// What the program wrote; it shares the file's position with it.
fn read_back(mut file: File, most: u64) -> std::io::Result<String> {
    std::io::Seek::rewind(&mut file)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A directory that is gone when this is dropped.
struct ScratchDir(std::path::PathBuf);

impl ScratchDir {
    fn new() -> std::io::Result<ScratchDir> {
        static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("meno-sandbox-{}-{n}", std::process::id()));
        std::fs::create_dir(&dir)?;
        let dir = ScratchDir(dir);
        std::fs::create_dir(dir.0.join("work"))?;
        for path in [dir.0.clone(), dir.0.join("work")] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(dir)
    }
}

impl Drop for ScratchDir {
    fn drop(&mut self) {
        // What is left behind in /tmp is no reason to end.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
