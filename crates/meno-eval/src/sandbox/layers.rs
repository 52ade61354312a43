//! The layers of a sandbox, and error messages with the reason and remedy if one fails.

use super::tools::Tool;
use crate::error::Error;
use nix::errno::Errno;
use std::io;

/// The layers of a sandbox, in setup order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// Creating the namespaces.
    Namespaces = 1,
    /// Closing Meno's open descriptors.
    Descriptors,
    /// Mapping the users of the new user namespace.
    Maps,
    /// Switching to user nobody and dropping all capabilities.
    User,
    /// Starting the init of the process namespace and the program's process.
    Init,
    /// Opening the files and directories that the tool needs.
    Files,
    /// Mounting the file system in memory.
    Mounts,
    /// Leaving the machine's file system.
    Root,
    /// Applying the Landlock rules.
    Landlock,
    /// Setting the resource limits.
    Limits,
    /// Installing the system call filter.
    SystemCalls,
    /// Reading what all processes of a sandbox use.
    Watch,
    /// Ending a sandbox.
    Kill,
}

/// All layers with their names.
pub(super) const LAYERS: [(Layer, &str); 13] = [
    (Layer::Namespaces, "namespaces of users, processes, mounts, network and IPC"),
    (Layer::Descriptors, "closing Meno's own files"),
    (Layer::Maps, "the user of the namespace"),
    (Layer::User, "no privileges"),
    (Layer::Init, "an init whose end kills everything"),
    (Layer::Files, "read-only views of the interpreter and the libraries"),
    (Layer::Mounts, "a file system in memory"),
    (Layer::Root, "leaving the machine's file system"),
    (Layer::Landlock, "Landlock"),
    (Layer::Limits, "limits of CPU time, memory, processes and files"),
    (Layer::SystemCalls, "the filter of system calls"),
    (Layer::Watch, "monitoring the CPU time and memory of all processes"),
    (Layer::Kill, "ending a program from outside"),
];

/// Marks an error with the layer that failed. Only one number passes from the child to the parent, so the layer goes
/// into its upper half.
pub(super) trait At<T> {
    fn at(self, layer: Layer) -> io::Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, layer: Layer) -> io::Result<T> {
        self.map_err(|e| {
            let errno = e.into().raw_os_error().unwrap_or(libc::EINVAL);
            io::Error::from_raw_os_error((layer as i32) << 16 | errno)
        })
    }
}

/// The error of a process that could not start in its jail.
pub(super) fn explain(tool: &Tool, error: &io::Error) -> Error {
    let code = error.raw_os_error().unwrap_or(0);
    let errno = Errno::from_raw(code & 0xffff);
    match LAYERS.iter().find(|(layer, _)| *layer as i32 == code >> 16) {
        Some(&(layer, name)) => Error::Layer { layer: name, reason: reason(layer, errno, tool) },
        None => Error::Sandbox(started(tool, error)),
    }
}

/// The reason why the tool itself did not start.
fn started(tool: &Tool, error: &io::Error) -> String {
    let path = tool.path.display();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) => format!(
            "{path} cannot be run: {error}. The user that programs run as (nobody, when Meno runs as root) must be \
             allowed to read and run it and its libraries (chmod -R o+rX), on a file system without noexec"
        ),
        Some(Errno::ENOENT) => format!("{path} no longer exists, or its dynamic loader is missing"),
        Some(Errno::EAGAIN | Errno::ENOMEM) => {
            format!("no new process could be started ({error}): the machine's or container's limit is reached")
        }
        _ => format!("{path} cannot be run: {error}"),
    }
}

fn reason(layer: Layer, errno: Errno, tool: &Tool) -> String {
    let description = errno.desc();
    let because = |text: &str, way_out: &str| format!("{text} ({description}). {way_out}");
    match layer {
        Layer::Namespaces => because("user namespaces are not available", &namespaces()),
        Layer::Descriptors => because(
            "Meno's open files could not be closed in the new process (close_range)",
            "It needs Linux 5.9 or later, and a container's seccomp profile must allow close_range",
        ),
        Layer::Maps => because("the users of the new namespace could not be set", &namespaces()),
        Layer::User => because(
            "Meno runs as root and cannot become user nobody",
            "Give the container CAP_SETUID and CAP_SETGID, or run Meno as an ordinary user",
        ),
        Layer::Init => because(
            "the first process of the namespace could not be started",
            "The machine's or container's limit of processes, memory or open files is reached",
        ),
        Layer::Files => because(
            &format!("what {} needs could not be mounted read-only in the new namespace", tool.path.display()),
            "This needs Linux 5.13 or later, and directories that the user who runs Meno can enter",
        ),
        Layer::Mounts => because("the file system in memory could not be mounted in the new namespace", &namespaces()),
        Layer::Root => because(
            "the machine's file system could not be left (pivot_root)",
            "This fails on an initial RAM disk (rootfs), or under a profile that forbids pivot_root",
        ),
        Layer::Landlock => because("Landlock, which keeps programs from other files, is not available", &landlock()),
        Layer::Limits => because(
            "the resource limits could not be set",
            "A limit of Meno's own process is lower: `ulimit -H -a` shows them",
        ),
        Layer::SystemCalls => {
            because("the filter of system calls could not be set", "It needs a kernel with CONFIG_SECCOMP_FILTER")
        }
        Layer::Watch => because("/proc does not show what the processes of a sandbox use", &watch()),
        Layer::Kill => because(
            "a running sandbox could not be killed (pidfd_send_signal)",
            "A container's seccomp profile must allow pidfd_send_signal",
        ),
    }
}

/// The cause for which /proc hides processes.
fn watch() -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hidden = mounts.lines().any(|line| line.contains(" /proc proc ") && line.contains("hidepid="));
    match hidden {
        true => {
            "It is mounted with hidepid: let an administrator add Meno's user to the group of its `gid=` option, or \
                 run `mount -o remount,hidepid=0 /proc`"
                .to_owned()
        }
        false => "A sandbox's init, its program and the CPU time of its dead processes must be readable in /proc/PID: \
                  mount the /proc of this process namespace, without hidepid and without a profile that forbids reading"
            .to_owned(),
    }
}

/// What Landlock needs, and this machine's kernel version.
fn landlock() -> String {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "It needs Linux 5.13 or later (this is {}) with CONFIG_SECURITY_LANDLOCK, and `landlock` in the kernel's \
         `lsm=` list (/sys/kernel/security/lsm shows it); a container's seccomp profile must allow \
         landlock_create_ruleset and landlock_restrict_self",
        release.trim()
    )
}

/// The setting of this machine that forbids user namespaces, and how to change it.
fn namespaces() -> String {
    let settings = [
        ("user.max_user_namespaces", "0", "10000"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ];
    for (name, forbids, allows) in settings {
        let value = std::fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).unwrap_or_default();
        if value.trim() == forbids {
            return format!("This machine sets {name} = {forbids}; allow them with `sysctl -w {name}={allows}`");
        }
    }
    "In a container its seccomp profile forbids them; allow them with `--security-opt seccomp=unconfined` or a profile \
     that permits unshare and mount"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_layer_has_a_distinct_message() {
        let tool = Tool::from_job_file("/root/python/bin/python3");
        let mut seen = std::collections::HashSet::new();
        for (layer, _) in LAYERS {
            let error = Err::<(), _>(Errno::EPERM).at(layer).unwrap_err();
            let message = explain(&tool, &error).to_string();
            assert!(message.contains("Operation not permitted"), "{message}");
            assert!(seen.insert(message.clone()), "twice: {message}");
        }
        let message = explain(&tool, &io::Error::from_raw_os_error(libc::EACCES)).to_string();
        assert!(message.contains("/root/python/bin/python3") && !message.contains("Landlock"), "{message}");
    }
}
