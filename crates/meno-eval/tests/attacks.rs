//! Attacks on the sandbox: programs that try to outlive it, to access the machine, or to exceed their limits.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // a test may fail by panicking

use meno_eval::sandbox::{End, Limits, Outcome, Sandbox};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn limits() -> Limits {
    Limits { wall: Duration::from_secs(20), cpu_seconds: 2, memory_bytes: 256 << 20, ..Limits::default() }
}

/// Opens the sandbox. `None` if this machine does not support it; prints the reason.
fn sandbox() -> Option<Sandbox> {
    match Sandbox::open(Path::new("python3"), limits()) {
        Ok(sandbox) => Some(sandbox),
        Err(error) => {
            assert!(error.to_string().starts_with("the sandbox: "), "{error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Functions for programs: a system call, and an attempt that prints its result.
const TOOLS: &str = "
import ctypes, errno, os, signal, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *args):
    ctypes.set_errno(0)
    done = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, args))
    return 'done' if done != -1 else errno.errorcode[ctypes.get_errno()]
def attempt(what, f, *args):
    try:
        f(*args)
        print(what, 'done', flush=True)
    except Exception as e:
        print(what, errno.errorcode.get(getattr(e, 'errno', None), type(e).__name__), flush=True)
";

fn run(program: &str) -> Option<Outcome> {
    Some(sandbox()?.run(&format!("{TOOLS}\n{program}"), "").unwrap())
}

/// The output of a program that must end by itself.
fn printed(program: &str) -> Option<String> {
    let outcome = run(program)?;
    assert_eq!(outcome.end, End::Done, "{}", outcome.output);
    Some(outcome.output)
}

/// A world-writable directory with a world-writable file.
fn open_directory() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "contents").unwrap();
    for path in [dir.path(), &file] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    (dir, file)
}

/// The number of processes with this name.
fn named(name: &str) -> usize {
    let comm =
        |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(entry.ok()?.path().join("comm")).ok();
    std::fs::read_dir("/proc").unwrap().filter_map(comm).filter(|comm| comm.trim() == name).count()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program whose processes detach from their ancestors, ignore signals and run forever.
fn survivor(name: &str) -> String {
    format!(
        "for number in range(1, 32):\n    try: signal.signal(number, signal.SIG_IGN)\n    \
         except (OSError, ValueError): pass\nlibc.prctl(15, {name:?}.encode())\nlibc.prctl(1, 0)\n\
         for _ in range(4):\n    if os.fork() == 0:\n        libc.prctl(1, 0)\n        os.setsid()\n        \
         if os.fork() == 0:\n            libc.prctl(1, 0)\n            while True: time.sleep(0.01)\n        \
         os._exit(0)\n"
    )
}

#[test]
fn nothing_outlives_a_program() {
    let name = format!("late-{}", std::process::id());
    let Some(outcome) = run(&format!("{}print('ready')", survivor(&name))) else { return };
    assert_eq!(outcome, Outcome { output: "ready\n".into(), end: End::Done });
    assert_eq!(named(&name), 0, "all processes must be dead when the run returns");
    let limits = Limits { wall: Duration::from_secs(1), ..limits() };
    let sandbox = Sandbox::open(Path::new("python3"), limits).unwrap();
    let outcome = sandbox.run(&format!("{TOOLS}\n{}time.sleep(1000)", survivor(&name)), "").unwrap();
    assert_eq!(outcome.end, End::OutOfTime);
    assert_eq!(named(&name), 0);
}

/// Runs a program that survives until it is killed.
#[test]
#[ignore = "the other half of `nothing_outlives_a_killed_meno`"]
fn helper_runs_a_survivor() {
    let name = std::env::var("MENO_TEST_NAME").unwrap();
    let limits = Limits { wall: Duration::from_secs(120), cpu_seconds: 100, ..limits() };
    let sandbox = Sandbox::open(Path::new("python3"), limits).unwrap();
    sandbox.run(&format!("{TOOLS}\n{}time.sleep(1000)", survivor(&name)), "x").unwrap();
}

#[test]
fn nothing_outlives_a_killed_meno() {
    if sandbox().is_none() {
        return;
    }
    let (name, dir) = (format!("orphan-{}", std::process::id()), open_directory());
    std::fs::remove_file(&dir.1).unwrap();
    let mut meno = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "helper_runs_a_survivor", "--ignored"])
        .envs([("MENO_TEST_NAME", name.as_str()), ("TMPDIR", dir.0.path().to_str().unwrap())])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("it runs", || named(&name) >= 5);
    meno.kill().unwrap();
    meno.wait().unwrap();
    eventually("everything is dead", || named(&name) == 0);
    let left: Vec<_> = std::fs::read_dir(dir.0.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?} remains after a killed run");
}

#[test]
fn cpu_time_is_bounded_over_all_processes() {
    // Each child stays below the limit of a single process.
    let relay = "while True:\n    if os.fork() == 0:\n        end = time.process_time() + 0.7\n        \
                 while time.process_time() < end: pass\n        os._exit(0)\n    os.wait()\n";
    let start = Instant::now();
    let Some(outcome) = run(relay) else { return };
    assert_eq!(outcome.end, End::OutOfCpu, "after {:?}", start.elapsed());
    // Orphans count as well, and a program cannot hide the time of its children by ignoring SIGCHLD.
    let orphans = "attempt('ignore', signal.signal, signal.SIGCHLD, signal.SIG_IGN)\nwhile True:\n    \
                   if os.fork() == 0:\n        if os.fork() == 0:\n            \
                   end = time.process_time() + 0.7\n            while time.process_time() < end: pass\n        \
                   os._exit(0)\n    os.wait()\n    time.sleep(0.5)\n";
    let Some(outcome) = run(orphans) else { return };
    assert_eq!(outcome, Outcome { output: "ignore ENOSYS\n".into(), end: End::OutOfCpu });
}

#[test]
fn memory_is_bounded_over_all_processes() {
    let program = "for _ in range(8):\n    if os.fork() == 0:\n        block = bytearray(150 << 20)\n        \
                   time.sleep(60)\ntime.sleep(60)";
    let Some(outcome) = run(program) else { return };
    assert_eq!(outcome.end, End::OutOfMemory);
    // Memory that no process limit counts.
    let program =
        format!("print(call({}, 0, 1 << 28, 0o1600))\nprint(call({}, 0, 0))", libc::SYS_shmget, libc::SYS_memfd_create);
    let Some(output) = printed(&program) else { return };
    assert_eq!(output, "ENOSYS\nENOSYS\n");
}

#[test]
fn memory_cannot_be_hidden_in_shared_mappings() {
    // All pages of such a mapping stay while one is mapped, and only that one is counted. The flags: shared, or
    // validated as shared, without a file or with huge pages; private memory with and without huge pages.
    let program = format!(
        "import mmap\nfor flags in (0x21, 0x23, 0x8021, 0x40021, 0x40001, 0x40022, 0x22):\n    \
         print(hex(flags), call({}, 0, 1 << 21, 3, flags, -1, 0))\nattempt('python', mmap.mmap, -1, 1 << 21)\n\
         attempt('zero', open, '/dev/zero', 'rb')",
        libc::SYS_mmap
    );
    let Some(output) = printed(&program) else { return };
    let expected = "0x21 ENOSYS\n0x23 ENOSYS\n0x8021 ENOSYS\n0x40021 ENOSYS\n0x40001 ENOSYS\n0x40022 ENOSYS\n\
                    0x22 done\npython ENOSYS\nzero ENOENT\n";
    assert_eq!(output, expected);
    // Files are the only shareable memory. Deleted files count, and so do files that only a mapping keeps alive.
    let program = "import mmap\nheld = []\ntry:\n    for number in range(40):\n        \
                   f = open(str(number), 'wb+')\n        os.unlink(str(number))\n        \
                   f.write(bytes(1 << 20))\n        f.flush()\n        \
                   held.append(mmap.mmap(f.fileno(), 1 << 20))\n        f.close()\n\
                   except OSError as e: print(len(held) <= 16, errno.errorcode[e.errno], flush=True)\n\
                   held[0][:5] = b'hello'\nif os.fork() == 0:\n    print(held[0][:5], flush=True)\n    os._exit(0)\n\
                   os.wait()";
    let Some(output) = printed(program) else { return };
    assert_eq!(output, "True ENOSPC\nb'hello'\n");
}

#[test]
fn memory_cannot_be_hidden_in_huge_pages() {
    let name = format!("huge-{}", std::process::id());
    let program = format!("libc.prctl(15, {name:?}.encode())\ntime.sleep(3)");
    std::thread::scope(|scope| {
        let running = scope.spawn(|| printed(&program));
        let status = loop {
            let texts = std::fs::read_dir("/proc")
                .unwrap()
                .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("status")).ok());
            match texts.into_iter().find(|text| text.starts_with(&format!("Name:\t{name}\n"))) {
                Some(status) => break status,
                None if running.is_finished() => return assert!(sandbox().is_none(), "the attack was not seen"),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        assert!(status.contains("\nTHP_enabled:\t0\n"), "{status}");
    });
}

/// Blocks a system call for this thread and its children, as a container may do.
fn without(call: libc::c_long) {
    use seccompiler::{SeccompAction, SeccompFilter};
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new([(call, Vec::new())].into(), SeccompAction::Allow, missing, arch).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

#[test]
fn errors_name_the_missing_layer() {
    if sandbox().is_none() {
        return;
    }
    let calls = [
        (libc::SYS_pidfd_send_signal, "ending a program from outside"),
        (libc::SYS_close_range, "closing Meno's own files"),
        (libc::SYS_pivot_root, "leaving the machine's file system"),
    ];
    for (call, layer) in calls {
        let opened = std::thread::spawn(move || {
            without(call);
            Sandbox::open(Path::new("python3"), limits())
        });
        let error = format!("{:?}", opened.join().unwrap().map(drop).unwrap_err());
        assert!(error.contains(layer) && error.contains("not implemented"), "{error}");
    }
}

#[test]
fn programs_end_even_if_the_kill_signal_fails() {
    let limits = Limits { wall: Duration::from_secs(1), ..limits() };
    let Ok(sandbox) = Sandbox::open(Path::new("python3"), limits) else { return };
    let run = std::thread::spawn(move || {
        without(libc::SYS_pidfd_send_signal);
        let start = Instant::now();
        (sandbox.run("import time\ntime.sleep(60)", "").unwrap().end, start.elapsed())
    });
    let (end, time) = run.join().unwrap();
    assert!(end == End::OutOfTime && time < Duration::from_secs(40), "{end:?} after {time:?}");
}

/// Prints the result of opening a sandbox.
#[test]
#[ignore = "the other half of `a_proc_that_hides_processes_is_an_error`"]
fn helper_opens_a_sandbox() {
    println!("opened: {:?}", Sandbox::open(Path::new("python3"), limits()).map(drop));
}

#[test]
fn a_proc_that_hides_processes_is_an_error() {
    if !nix::unistd::Uid::effective().is_root() || sandbox().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tests = dir.path().join("attacks");
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    for path in [dir.path(), &tests] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let hide = || -> std::io::Result<()> {
        use nix::mount::{MsFlags, mount};
        let none = None::<&str>;
        // SAFETY: takes a number, and gives this process a separate mount namespace.
        nix::errno::Errno::result(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), Some("hidepid=2"))?;
        // SAFETY: the calls take numbers and an empty list.
        nix::errno::Errno::result(unsafe {
            libc::setgroups(0, std::ptr::null()) | libc::setgid(54321) | libc::setuid(54321)
        })?;
        Ok(())
    };
    let mut command = Command::new(&tests);
    command.args(["--exact", "helper_opens_a_sandbox", "--ignored", "--nocapture"]);
    command.env("TMPDIR", dir.path()).env("HOME", dir.path()).current_dir(dir.path());
    // SAFETY: the function only makes system calls.
    unsafe { command.pre_exec(hide) };
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return eprintln!("skipped: /proc cannot be mounted again: {error}"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    for part in ["opened: Err", "monitoring the CPU time and memory of all processes", "hidepid"] {
        assert!(text.contains(part), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn files_of_the_machine_are_absent() {
    let (dir, file) = open_directory();
    let program = format!(
        "file = {file:?}\n\
         attempt('truncate', os.truncate, file, 0)\nattempt('chmod', os.chmod, file, 0)\n\
         attempt('utime', os.utime, file, (0, 0))\nattempt('open', open, file, 'a')\n\
         attempt('rename', os.rename, file, file + '2')\nattempt('link', os.symlink, '/', {:?} + '/link')\n\
         attempt('list', os.listdir, {:?})\n",
        dir.path(),
        dir.path()
    );
    let Some(output) = printed(&program) else { return };
    for line in output.lines() {
        assert!(line.ends_with("ENOENT"), "{line}");
    }
    assert_eq!(output.lines().count(), 7);
    let metadata = file.metadata().unwrap();
    assert!(metadata.len() == 8 && metadata.permissions().mode() & 0o777 == 0o777);
}

#[test]
fn the_root_holds_only_what_is_needed() {
    let Some(output) = printed("print(*sorted(os.listdir('/')), sep='\\n')") else { return };
    let known =
        ["bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "nix", "gnu", "program", "sbin", "tmp", "usr", "work"];
    for name in output.lines() {
        assert!(known.contains(&name), "{name} is in the root");
    }
    let program = "import tempfile\nfor path in ('/x', '/usr/x', '/etc/x', '/dev/x', '/program'):\n    \
                   attempt(path, open, path, 'w')\nattempt('chmod', os.chmod, '/usr', 0o777)\n\
                   attempt('mine', open, '/tmp/x', 'w')\nattempt('null', open, '/dev/null', 'w')\n\
                   print(os.stat('/work/x').st_mode & 0o777 > 0, os.path.exists('/etc/passwd'), \
                   os.path.exists('/proc'))";
    let Some(output) = printed(program) else { return };
    let lines: Vec<&str> = output.lines().collect();
    for line in &lines[..6] {
        assert!(["EROFS", "EACCES"].iter().any(|error| line.ends_with(error)), "{line}");
    }
    assert_eq!(lines[6..], ["mine done", "null done", "True False False"]);
}

#[test]
fn an_interpreter_does_not_expose_its_home_directory() {
    let Some(real) = ["/usr/bin/python3", "/usr/local/bin/python3"].iter().find(|path| Path::new(path).exists()) else {
        return;
    };
    let (dir, secret) = open_directory();
    let python = dir.path().join("bin/python3");
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    std::fs::copy(real, &python).unwrap();
    let sandbox = match Sandbox::open(&python, limits()) {
        Ok(sandbox) => sandbox,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    let outcome = sandbox.run(&format!("{TOOLS}\nattempt('open', open, {secret:?})"), "").unwrap();
    assert_eq!(outcome.output, "open ENOENT\n");
}

#[test]
fn a_pth_file_does_not_expose_other_directories() {
    let Some(real) = ["/usr/bin/python3", "/usr/local/bin/python3"].iter().find(|path| Path::new(path).exists()) else {
        return;
    };
    let modules = "import os, sys; print(os.path.dirname(os.__file__), f'python3.{sys.version_info.minor}')";
    let asked = Command::new(real).args(["-I", "-c", modules]).output().unwrap();
    let asked = String::from_utf8(asked.stdout).unwrap();
    let (modules, version) = asked.trim().split_once(' ').unwrap();
    // A home directory that is a Python prefix, with editable modules next to it.
    let (dir, _) = open_directory();
    let home = dir.path().canonicalize().unwrap();
    let site = home.join("lib").join(version);
    for name in ["bin", "lib/python3/dist-packages", "projects"] {
        std::fs::create_dir_all(home.join(name)).unwrap();
    }
    std::fs::copy(real, home.join("bin/python3")).unwrap();
    std::os::unix::fs::symlink(modules, &site).unwrap();
    let secret = home.join("projects/secret");
    std::fs::write(&secret, "the key").unwrap();
    let list = home.join("lib/python3/dist-packages/edit.pth");
    std::fs::write(&list, format!("{}\n", home.join("projects").display())).unwrap();
    let sandbox = match Sandbox::open(&home.join("bin/python3"), limits()) {
        Ok(sandbox) => sandbox,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    let outcome = sandbox.run(&format!("{TOOLS}\nattempt('open', open, {secret:?})"), "").unwrap();
    assert_eq!(outcome.output, "open ENOENT\n");
}

#[test]
fn sockets_of_the_machine_are_out_of_reach() {
    let (dir, _) = open_directory();
    let path = dir.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    let program = format!(
        "def connect(family, address):\n    with socket.socket(family, socket.SOCK_STREAM) as s: s.connect(address)\n\
         attempt('path', connect, socket.AF_UNIX, {path:?})\n\
         for family in (socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK, socket.AF_PACKET, 40, 38):\n    \
         attempt(int(family), socket.socket, family, socket.SOCK_STREAM)\na, b = socket.socketpair()\na.send(b'x')\n\
         print(b.recv(1))"
    );
    let Some(output) = printed(&program) else { return };
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[0], "path ENOENT");
    for line in &lines[1..7] {
        assert!(line.ends_with("ENOSYS"), "{line}");
    }
    assert_eq!(lines[7], "b'x'");
}

#[test]
fn the_system_call_surface_is_small() {
    let calls = [
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("request_key", libc::SYS_request_key),
        ("bpf", libc::SYS_bpf),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("ptrace", libc::SYS_ptrace),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("shmget", libc::SYS_shmget),
        ("semget", libc::SYS_semget),
        ("msgget", libc::SYS_msgget),
        ("mq_open", libc::SYS_mq_open),
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("move_mount", libc::SYS_move_mount),
        ("pivot_root", libc::SYS_pivot_root),
        ("chroot", libc::SYS_chroot),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("clone3", libc::SYS_clone3),
        ("mknodat", libc::SYS_mknodat),
        ("setxattr", libc::SYS_setxattr),
        ("open_by_handle_at", libc::SYS_open_by_handle_at),
        ("setuid", libc::SYS_setuid),
        ("capset", libc::SYS_capset),
        ("seccomp", libc::SYS_seccomp),
        ("personality", libc::SYS_personality),
        ("finit_module", libc::SYS_finit_module),
        ("a number of the x32 table", 0x4000_0000 | 39),
    ];
    let list: Vec<String> = calls.iter().map(|(name, number)| format!("({name:?}, {number})")).collect();
    let program = format!(
        "for name, number in [{}]:\n    print(name, call(number, 0, 0, 0, 0, 0, 0), flush=True)\n\
         for flag in (0x10000000, 0x20000, 0x20000000, 0x40000000):\n    \
         print('clone', call({}, flag | 17, 0, 0, 0, 0), flush=True)\n\
         print('prctl', libc.prctl(4, 1), libc.prctl(39, 0, 0, 0, 0))",
        list.join(", "),
        libc::SYS_clone,
    );
    let Some(output) = printed(&program) else { return };
    let lines: Vec<&str> = output.lines().collect();
    for line in &lines[..calls.len() + 4] {
        assert!(line.ends_with("ENOSYS"), "{line}");
    }
    assert_eq!(lines[calls.len() + 4..], ["prctl -1 1"], "it stays dumpable, and can get no new privileges");
}

#[test]
fn the_init_cannot_be_ended_or_seen() {
    let program = "for number in (2, 9, 15, 19): attempt('kill', os.kill, 1, number)\ntime.sleep(0.2)\n\
         attempt('all', os.kill, -1, 9)\ntime.sleep(0.2)\nprint(os.getpid(), os.getppid())";
    // A kernel with Landlock scopes blocks the signals; another kernel does not deliver them.
    let Some(output) = printed(program) else { return };
    assert_eq!(output.lines().last(), Some("2 1"), "{output}");
}

#[test]
fn descriptors_are_not_inherited() {
    let (dir, _) = open_directory();
    let protected = dir.path().join("protected");
    std::fs::write(&protected, "the key").unwrap();
    std::fs::set_permissions(&protected, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = std::fs::File::open(&protected).unwrap();
    // Without close-on-exec, as a careless library opens it.
    let open = nix::unistd::dup(&file).unwrap();
    let program = "for number in range(3, 2000):\n    try:\n        os.fstat(number)\n        \
                   print('open', number, os.read(number, 100))\n    except OSError: pass";
    let Some(output) = printed(program) else { return };
    assert_eq!(output, "");
    drop(open);
}

#[test]
fn an_ordinary_user_gets_the_same_layers() {
    if !nix::unistd::Uid::effective().is_root() || sandbox().is_none() {
        return;
    }
    // Runs the tests of this file again as a user without privileges.
    let dir = tempfile::tempdir().unwrap();
    let tests = dir.path().join("attacks");
    std::fs::copy(std::env::current_exe().unwrap(), &tests).unwrap();
    std::fs::set_permissions(&tests, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let output = Command::new(&tests)
        .env("TMPDIR", dir.path())
        .env("HOME", dir.path())
        .current_dir(dir.path())
        .uid(54321)
        .gid(54321)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("18 passed"), "{text}");
}
