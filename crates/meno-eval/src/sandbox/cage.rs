//! The Linux side of the sandbox: one caged process.
//!
//! Between fork and exec the child makes system calls and allocates next to nothing; glibc and musl keep the allocator
//! usable in the child of a process with threads.

use super::tools::{Tool, closed_to_others};
use super::walls::{At, Wall};
use super::{Job, walls};
use crate::error::Error;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope, path_beneath_rules,
};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, wait};
use nix::unistd::{ForkResult, Gid, Uid, chdir, fork, setgroups, setresgid, setresuid, setsid};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// Whom programs run as when Meno runs as root: a limit on processes does not hold for root.
const NOBODY: u32 = 65534;

/// Readable in the cage, beside the tool's own directory.
const READABLE: [&str; 8] = ["/usr", "/bin", "/lib", "/lib64", "/etc", "/opt", "/dev/zero", "/dev/urandom"];

/// What the child needs, prepared before the fork.
struct Plan {
    uid: Uid,
    gid: Gid,
    root: bool,
    uid_map: String,
    gid_map: String,
    /// The directory of the tool and where it is mounted, if user nobody cannot reach it.
    bind: Option<(PathBuf, PathBuf)>,
    /// Where the file system in memory is mounted; the program's directory.
    work: PathBuf,
    mount_options: String,
    ruleset: Option<RulesetCreated>,
    limits: [(Resource, u64); 7],
}

impl Plan {
    fn new(job: &Job, scratch: &Path) -> Result<Plan, Error> {
        let root = Uid::effective().is_root();
        let (uid, gid) =
            if root { (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY)) } else { (Uid::effective(), Gid::effective()) };
        let home = job.tool.home.as_deref();
        let hidden = home.filter(|home| root && closed_to_others(home).is_some());
        let limits = &job.limits;
        Ok(Plan {
            uid,
            gid,
            root,
            uid_map: format!("{uid} {uid} 1"),
            gid_map: format!("{gid} {gid} 1"),
            bind: hidden.map(|home| (home.to_owned(), scratch.join("tool"))),
            work: scratch.join("work"),
            mount_options: format!("size={},nr_inodes=1000,mode=700", limits.files_bytes),
            ruleset: Some(ruleset(scratch, home).map_err(walls::landlock)?),
            limits: [
                (Resource::RLIMIT_CPU, limits.cpu_seconds),
                (Resource::RLIMIT_DATA, limits.memory_bytes),
                (Resource::RLIMIT_AS, if job.tool.reserves_memory { u64::MAX } else { limits.memory_bytes }),
                (Resource::RLIMIT_FSIZE, limits.output_bytes),
                (Resource::RLIMIT_NPROC, limits.processes),
                (Resource::RLIMIT_NOFILE, 64),
                (Resource::RLIMIT_CORE, 0),
            ],
        })
    }

    /// The tool as the cage sees it.
    fn program(&self, tool: &Tool) -> PathBuf {
        match &self.bind {
            Some((from, to)) => tool.path.strip_prefix(from).map_or_else(|_| tool.path.clone(), |rest| to.join(rest)),
            None => tool.path.clone(),
        }
    }
}

/// Landlock's rules but the one for the working directory, which is mounted later: reading of the system's
/// directories, of the tool's and of the scratch directory. Rights that later versions of Landlock added are taken
/// away where the kernel knows them.
fn ruleset(scratch: &Path, home: Option<&Path>) -> Result<RulesetCreated, landlock::RulesetError> {
    let readable = READABLE.iter().map(Path::new).chain([scratch]).chain(home);
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rules(path_beneath_rules(readable, AccessFs::from_read(ABI::V1)))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))
}

/// Writes a file of /proc.
fn put(path: &str, text: &str) -> io::Result<()> {
    std::fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Leaves everything that a program could reach. Runs in the child of a fork.
fn enter(plan: &mut Plan) -> io::Result<()> {
    let none = None::<&str>;
    setsid().at(Wall::User)?;
    if plan.root {
        if let Some((from, to)) = &plan.bind {
            unshare(CloneFlags::CLONE_NEWNS).at(Wall::Bind)?;
            mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).at(Wall::Bind)?;
            mount(Some(from), to, none, MsFlags::MS_BIND, none).at(Wall::Bind)?;
        }
        setgroups(&[]).at(Wall::User)?;
        setresgid(plan.gid, plan.gid, plan.gid).at(Wall::User)?;
        setresuid(plan.uid, plan.uid, plan.uid).at(Wall::User)?;
        // Changing the user made /proc/self root's.
        prctl::set_dumpable(true).at(Wall::User)?;
    }
    // A killed Meno leaves no program behind.
    prctl::set_pdeathsig(Signal::SIGKILL).at(Wall::User)?;
    unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )
    .at(Wall::Namespaces)?;
    put("/proc/self/setgroups", "deny").at(Wall::Maps)?;
    put("/proc/self/uid_map", &plan.uid_map).at(Wall::Maps)?;
    put("/proc/self/gid_map", &plan.gid_map).at(Wall::Maps)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).at(Wall::Mounts)?;
    let (flags, options) = (MsFlags::MS_NOSUID | MsFlags::MS_NODEV, plan.mount_options.as_str());
    mount(Some("tmpfs"), &plan.work, Some("tmpfs"), flags, Some(options)).at(Wall::Mounts)?;
    chdir(&plan.work).at(Wall::Mounts)?;
    // The first child of this process is the init of the new process namespace: all die with it.
    // SAFETY: the process has one thread, and the child goes on to exec.
    if let ForkResult::Parent { .. } = unsafe { fork() }.at(Wall::Init)? {
        relay();
    }
    prctl::set_pdeathsig(Signal::SIGKILL).at(Wall::Init)?;
    lock_files(plan).at(Wall::Landlock)?;
    // A deep recursion ends at the limit of memory, not at 8 MiB of stack.
    let (_, most) = getrlimit(Resource::RLIMIT_STACK).at(Wall::Limits)?;
    setrlimit(Resource::RLIMIT_STACK, most, most).at(Wall::Limits)?;
    plan.limits.iter().try_for_each(|&(what, most)| setrlimit(what, most, most)).at(Wall::Limits)
}

/// Waits for the program and ends as it did. Killing this process kills the program.
fn relay() -> ! {
    // SAFETY: no descriptor of this process is used after. There is no wrapper that every libc has; an inherited
    // descriptor left open would keep Meno waiting for the end of a pipe.
    unsafe { libc::syscall(libc::SYS_close_range, 0u32, u32::MAX, 0u32) };
    let code = loop {
        match wait() {
            Ok(WaitStatus::Exited(_, code)) => break code,
            Ok(WaitStatus::Signaled(_, signal, _)) => break 128 + signal as i32,
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => break 128,
        }
    };
    // SAFETY: ends the process without running what the parent registered for its own end.
    unsafe { libc::_exit(code) }
}

/// Landlock: nothing outside `work` can be written, nothing outside the readable directories read.
fn lock_files(plan: &mut Plan) -> io::Result<()> {
    let failed = |_| io::Error::last_os_error();
    let Some(ruleset) = plan.ruleset.take() else { return Err(io::Error::from_raw_os_error(libc::EINVAL)) };
    let work = PathFd::new(&plan.work).map_err(|_| io::Error::last_os_error())?;
    let all = PathBeneath::new(work, AccessFs::from_all(ABI::V5));
    ruleset.add_rule(all).and_then(RulesetCreated::restrict_self).map(drop).map_err(failed)
}

/// A process in a cage, and the directory that holds its files. It dies when this is dropped.
pub(crate) struct Caged {
    child: Child,
    _scratch: tempfile::TempDir,
}

impl Caged {
    /// Starts a job.
    pub(crate) fn start(job: Job) -> Result<Caged, Error> {
        let failed = |what: &str, e: io::Error| Error::Sandbox(format!("{what}: {e}"));
        let scratch = scratch(&job).map_err(|e| failed("writing the program's files", e))?;
        if let Some(dir) = Uid::effective().is_root().then(|| closed_to_others(scratch.path())).flatten() {
            return Err(Error::Sandbox(format!(
                "programs run as user nobody, who cannot enter {}, where temporary files are made; set TMPDIR to a \
                 directory that everyone can enter, such as /tmp",
                dir.display()
            )));
        }
        let mut plan = Plan::new(&job, scratch.path())?;
        let mut command = match job.script {
            Some(_) => Command::new("/bin/sh"),
            None => Command::new(plan.program(job.tool)),
        };
        if let Some(script) = job.script {
            command.args(["-c", script]).arg(plan.program(job.tool));
        }
        command.args(job.args).env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
        command.env("HOME", &plan.work).env("TMPDIR", &plan.work).env("LANG", "C.UTF-8");
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONHASHSEED", "0").env("OPENBLAS_NUM_THREADS", "1");
        command.env("PYTHONIOENCODING", "utf-8:surrogateescape");
        let stdin = match job.input {
            Some(_) => std::fs::File::open(scratch.path().join("input")).map_err(|e| failed("the input", e))?.into(),
            None => job.stdin,
        };
        command.stdin(stdin).stdout(job.stdout).stderr(job.stderr);
        // SAFETY: see the head of this file.
        unsafe { command.pre_exec(move || enter(&mut plan)) };
        let child = command.spawn().map_err(|e| walls::explain(job.tool, &e))?;
        Ok(Caged { child, _scratch: scratch })
    }

    /// Waits for its end, at most until `deadline`; `None` if it still runs then. 128 and above is a signal.
    pub(crate) fn wait(&mut self, deadline: Instant) -> Result<Option<i32>, Error> {
        loop {
            let status = self.child.try_wait().map_err(|e| Error::Sandbox(format!("waiting for the program: {e}")))?;
            if let Some(status) = status {
                return Ok(Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Caged {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A fresh directory with the job's files, the mount points `work` and `tool`, and the input.
fn scratch(job: &Job) -> io::Result<tempfile::TempDir> {
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    let dir = tempfile::Builder::new().prefix("meno-sandbox-").permissions(mode(0o755)).tempdir()?;
    for name in ["work", "tool"] {
        std::fs::create_dir(dir.path().join(name))?;
        std::fs::set_permissions(dir.path().join(name), mode(0o755))?;
    }
    for &(name, bytes) in job.files.iter().chain(job.input.map(|input| ("input", input)).iter()) {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes)?;
        std::fs::set_permissions(&path, mode(0o755))?;
    }
    std::fs::set_permissions(dir.path(), mode(0o755))?; // whatever the umask
    Ok(dir)
}
