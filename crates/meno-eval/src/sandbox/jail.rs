//! The outside of a sandbox on Linux: starts its init, monitors it and ends it.

use super::inside::{self, ChildSetup, Strings, WORK};
use super::job::{End, Job, Limits};
use super::layers::{self, At, Layer};
use super::{calls, files, usage};
use crate::error::Error;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::Resource;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Gid, Pid, Uid};
use std::ffi::CString;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The user of programs when Meno runs as root: limits on the number of processes do not apply to root.
const NOBODY_ID: u32 = 65534;

/// A sandbox with a running program. All its processes die when this is dropped and when Meno dies.
pub(crate) struct Jail {
    init: Pid,
    hold: Arc<InitHandle>,
    ended: Option<End>,
    excess: Arc<AtomicU8>,
    watch: Option<JoinHandle<()>>,
}

/// Controls the life of an init.
struct InitHandle {
    pidfd: OwnedFd,
    /// The init starts when it receives a byte and ends when the last writer is closed.
    lifeline: Mutex<Option<PipeWriter>>,
}

/// The reason for which the monitor ended a sandbox.
const TOO_MUCH_CPU: u8 = 1;
const TOO_MUCH_MEMORY: u8 = 2;
const USAGE_UNREADABLE: u8 = 3;

/// CPU time that the program of `self_test` uses in a process that then dies, with /proc's rounding.
const SELF_TEST_CPU: Duration = Duration::from_millis(80);

impl Jail {
    /// Starts a job.
    pub(crate) fn start(job: Job) -> Result<Jail, Error> {
        let failed = |what: &'static str| move |e: io::Error| Error::Sandbox(format!("{what}: {e}"));
        let mut plan = plan(&job)?;
        let stdin = match job.input {
            Some(bytes) => input(bytes).map_err(failed("the file of the input"))?,
            None => stream(job.stdin)?,
        };
        let (stdout, stderr) = (stream(job.stdout)?, stream(job.stderr)?);
        let (lifeline, writer) = io::pipe().map_err(failed("a pipe"))?;
        let (errors, error) = io::pipe().map_err(failed("a pipe"))?;
        let streams =
            [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd(), lifeline.as_raw_fd(), error.as_raw_fd()];
        let (init, pidfd) =
            clone(&mut plan, streams).at(Layer::Namespaces).map_err(|e| layers::explain(job.tool, &e))?;
        drop((stdin, stdout, stderr, lifeline, error));
        let hold = Arc::new(InitHandle { pidfd, lifeline: Mutex::new(None) });
        let excess = Arc::new(AtomicU8::new(0));
        let mut jail = Jail { init, hold, ended: None, excess, watch: None };
        jail.release(writer, errors).map_err(|e| layers::explain(job.tool, &e))?;
        jail.watch(job.limits).map_err(failed("a thread"))?;
        Ok(jail)
    }

    /// Maps the users of the namespace, lets the init continue and waits until the program runs.
    fn release(&mut self, mut lifeline: PipeWriter, mut errors: PipeReader) -> io::Result<()> {
        let sent = map_users(self.init).at(Layer::Maps).and_then(|()| lifeline.write_all(&[1]).at(Layer::Init));
        match sent {
            Ok(()) => self.hold.keep(lifeline),
            Err(_) => drop(lifeline),
        }
        // The init's own error takes precedence over the error that nothing could be sent to it.
        let mut number = [0; 4];
        match errors.read_exact(&mut number) {
            Ok(()) => match i32::from_ne_bytes(number) {
                number if sent.is_err() && number & 0xffff == libc::ECANCELED => sent,
                number => Err(io::Error::from_raw_os_error(number)),
            },
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => sent,
            Err(e) => Err(e).at(Layer::Init),
        }
    }

    /// Starts the thread that monitors what all processes of the sandbox use together.
    fn watch(&mut self, limits: Limits) -> io::Result<()> {
        let (init, hold, excess) = (self.init, self.hold.clone(), self.excess.clone());
        let watch = move || {
            // Programs that end within the first pause are never measured. Measuring takes at most 5 % of a processor.
            let mut pause = Duration::from_millis(100);
            while !ends_within(&hold.pidfd, pause) {
                let start = Instant::now();
                let reason = match usage::of(init) {
                    Ok(usage) if usage.cpu > Duration::from_secs(limits.cpu_seconds) => TOO_MUCH_CPU,
                    Ok(usage) if usage.memory_bytes > limits.memory_bytes => TOO_MUCH_MEMORY,
                    Ok(_) => 0,
                    // The sandbox has ended, or the monitor has stopped.
                    Err(_) if ends_within(&hold.pidfd, Duration::ZERO) => return,
                    Err(_) => USAGE_UNREADABLE,
                };
                if reason != 0 {
                    excess.store(reason, Ordering::Release);
                    return hold.kill();
                }
                pause = Duration::from_millis(50).max(start.elapsed() * 20);
            }
        };
        self.watch = Some(std::thread::Builder::new().name("sandbox watch".into()).spawn(watch)?);
        Ok(())
    }

    /// Waits until the program ends or `deadline` passes; `None` if it still runs then. When it ends, all other
    /// processes of the sandbox have ended too.
    pub(crate) fn wait(&mut self, deadline: Instant) -> Result<Option<End>, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        if self.ended.is_none() && ends_within(&self.hold.pidfd, left) {
            let status = reap(self.init).map_err(|e| Error::Sandbox(format!("waiting for the program: {e}")))?;
            self.ended = Some(match (self.excess.load(Ordering::Acquire), status) {
                (TOO_MUCH_CPU, _) => End::OutOfCpu,
                (TOO_MUCH_MEMORY, _) => End::OutOfMemory,
                (USAGE_UNREADABLE, _) => {
                    return Err(Error::Sandbox(
                        "a program was stopped because /proc no longer shows its processes".to_owned(),
                    ));
                }
                (_, WaitStatus::Exited(_, 0)) => End::Done,
                (_, WaitStatus::Exited(_, code)) => End::Failed(code),
                (_, WaitStatus::Signaled(_, signal, _)) => End::Failed(128 + signal as i32),
                (_, status) => return Err(Error::Sandbox(format!("waiting for the program gave {status:?}"))),
            });
        }
        Ok(self.ended)
    }
}

/// Tests the outside controls on a program that leaves a dead process behind and sleeps: the monitor must see what both
/// processes used, and the kill signal must end them.
pub(crate) fn self_test(job: Job) -> Result<(), Error> {
    let (tool, wall) = (job.tool, job.limits.wall);
    let jail = Jail::start(job)?;
    let failed = |wall: Layer, errno: Errno| Err(errno).at(wall).map_err(|e| layers::explain(tool, &e));
    let deadline = Instant::now() + wall;
    loop {
        let usage = usage::of(jail.init).at(Layer::Watch).map_err(|e| layers::explain(tool, &e))?;
        // The init and the sleeping program are left.
        if usage.processes == 2 && usage.cpu >= SELF_TEST_CPU && usage.memory_bytes > 0 {
            break;
        }
        if ends_within(&jail.hold.pidfd, Duration::from_millis(5)) || Instant::now() > deadline {
            return failed(Layer::Watch, Errno::ENODATA);
        }
    }
    match jail.hold.signal() {
        Err(errno) => failed(Layer::Kill, errno),
        Ok(()) if !ends_within(&jail.hold.pidfd, wall) => failed(Layer::Kill, Errno::ETIMEDOUT),
        Ok(()) => Ok(()),
    }
}

impl Drop for Jail {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.hold.kill();
            // Returns when all processes of the namespace are dead.
            let _ = reap(self.init);
        }
        if let Some(watch) = self.watch.take() {
            let _ = watch.join();
        }
    }
}

impl InitHandle {
    /// Holds the lifeline open until the end.
    fn keep(&self, writer: PipeWriter) {
        *self.lifeline.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
    }

    /// Kills the init and so every process in its namespace; the init may have ended already. If the signal fails, the
    /// init ends because its lifeline breaks.
    fn kill(&self) {
        drop(self.lifeline.lock().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.signal();
    }

    /// Sends SIGKILL to the init.
    fn signal(&self) -> nix::Result<()> {
        let (pidfd, no_info) = (self.pidfd.as_raw_fd(), ptr::null::<libc::siginfo_t>());
        // SAFETY: the descriptor is open, and without extra information the call reads nothing else.
        Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, libc::SIGKILL, no_info, 0) }).map(drop)
    }
}

/// Waits for the init to end.
fn reap(init: Pid) -> nix::Result<WaitStatus> {
    loop {
        match waitpid(init, Some(WaitPidFlag::__WALL)) {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// True if the process ends within this time.
fn ends_within(pidfd: &OwnedFd, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounds up, so that the last wait does not spin.
        let left = (left + Duration::from_micros(999)).as_millis().min(i32::MAX as u128) as i32;
        let mut events = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut events, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(0) if Instant::now() >= deadline => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            _ => return true,
        }
    }
}

/// Creates the init, with a pidfd that stays bound to this process even if its number is reused.
fn clone(plan: &mut ChildSetup, streams: inside::Streams) -> io::Result<(Pid, OwnedFd)> {
    let mut pidfd = -1;
    // Blocks signals: Meno's handlers must not run in the child.
    let mut before = SigSet::empty();
    nix::sys::signal::pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // SAFETY: the child calls `init`, which meets the conditions of `clone`, and `pidfd` is valid.
    let made = unsafe { inside::clone(calls::NAMESPACES | libc::CLONE_PIDFD, &mut pidfd) };
    if let Ok(None) = made {
        inside::init(plan, streams);
    }
    before.thread_set_mask()?;
    let init = made?.ok_or(Errno::EINVAL)?;
    // SAFETY: the call created this descriptor for this process.
    Ok((init, unsafe { OwnedFd::from_raw_fd(pidfd) }))
}

/// Maps only the program's own user into the new namespace.
fn map_users(init: Pid) -> io::Result<()> {
    let (user, group) = user().unwrap_or((Uid::effective(), Gid::effective()));
    let put = |name: &str, text: String| std::fs::write(format!("/proc/{init}/{name}"), text);
    if user == Uid::effective() {
        put("setgroups", "deny".into())?;
    }
    put("uid_map", format!("{user} {user} 1"))?;
    put("gid_map", format!("{group} {group} 1"))
}

/// The user of programs if they do not run as Meno's user.
fn user() -> Option<(Uid, Gid)> {
    Uid::effective().is_root().then(|| (Uid::from_raw(NOBODY_ID), Gid::from_raw(NOBODY_ID)))
}

/// The given stream of the program, or `/dev/null`.
fn stream(given: Option<OwnedFd>) -> Result<OwnedFd, Error> {
    let null = || std::fs::File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
    given.map_or_else(null, Ok).map_err(|e| Error::Sandbox(format!("/dev/null: {e}")))
}

/// Creates an unnamed file that holds the input.
fn input(bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Seek;
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Prepares everything that the child needs, before the clone.
fn plan(job: &Job) -> Result<ChildSetup, Error> {
    let failed = |e: io::Error| Error::Sandbox(format!("the files of {}: {e}", job.tool.path.display()));
    let entries = files::entries(job).map_err(failed)?;
    let sources = entries.iter().map(|_| None).collect();
    let tool = files::program(job.tool).map_err(failed)?;
    let text = |text: &str| CString::new(text).map_err(|e| failed(e.into()));
    let mut arguments = Vec::new();
    let program = match job.script {
        Some(script) => {
            arguments.extend([text("sh")?, text("-c")?, text(script)?]);
            text("/bin/sh")?
        }
        None => tool.clone(),
    };
    arguments.push(tool);
    for argument in job.args {
        arguments.push(text(argument)?);
    }
    let directories = files::libraries(job.tool).iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    let libraries = (!directories.is_empty()).then(|| format!("LD_LIBRARY_PATH={}", directories.join(":")));
    let lines = environment().into_iter().chain(libraries);
    let environment = lines.map(|line| text(&line)).collect::<Result<Vec<_>, _>>()?;
    let limits = &job.limits;
    let (root_size, inodes) = (files::size(job) + (1 << 20), entries.len() + 64);
    Ok(ChildSetup {
        user: user(),
        root_options: text(&format!("size={root_size},nr_inodes={inodes},mode=755"))?,
        work_options: text(&format!("size={},nr_inodes=1000,mode=700", limits.files_bytes))?,
        entries,
        sources,
        limits: [
            (Resource::RLIMIT_CPU, limits.cpu_seconds),
            (Resource::RLIMIT_DATA, limits.memory_bytes),
            (Resource::RLIMIT_AS, if job.tool.reserves_memory { u64::MAX } else { limits.memory_bytes }),
            (Resource::RLIMIT_FSIZE, limits.output_bytes),
            // The init runs as the same user and counts as one process.
            (Resource::RLIMIT_NPROC, limits.processes + 1),
            (Resource::RLIMIT_NOFILE, 64),
            (Resource::RLIMIT_CORE, 0),
        ],
        system_calls: calls::filter()?,
        program,
        arguments: Strings::new(arguments),
        environment: Strings::new(environment),
    })
}

/// The environment variables of programs.
fn environment() -> [String; 8] {
    let work = String::from_utf8_lossy(WORK.to_bytes());
    [
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        format!("HOME={work}"),
        format!("TMPDIR={work}"),
        "LANG=C.UTF-8".to_owned(),
        "PYTHONDONTWRITEBYTECODE=1".to_owned(),
        "PYTHONHASHSEED=0".to_owned(),
        "OPENBLAS_NUM_THREADS=1".to_owned(),
        "PYTHONIOENCODING=utf-8:surrogateescape".to_owned(),
    ]
}
