//! What failed when a cage could not be built, why, and the way out.

use super::tools::{Tool, closed_to_others};
use crate::error::Error;
use nix::errno::Errno;
use std::io;

/// The steps of entering a cage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wall {
    /// Mounting the tool where user nobody can read it.
    Bind = 1,
    /// Becoming user nobody.
    User,
    /// New namespaces.
    Namespaces,
    /// The user of the new user namespace.
    Maps,
    /// The file system in memory.
    Mounts,
    /// The first process of the process namespace.
    Init,
    /// The Landlock rules.
    Landlock,
    /// The resource limits.
    Limits,
}

const WALLS: [Wall; 8] =
    [Wall::Bind, Wall::User, Wall::Namespaces, Wall::Maps, Wall::Mounts, Wall::Init, Wall::Landlock, Wall::Limits];

/// Marks an error with the wall that failed. The standard library passes one number from the child to the parent, so
/// the wall goes into its upper half.
pub(super) trait At<T> {
    fn at(self, wall: Wall) -> io::Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, wall: Wall) -> io::Result<T> {
        self.map_err(|e| {
            let errno = e.into().raw_os_error().unwrap_or(libc::EINVAL);
            io::Error::from_raw_os_error((wall as i32) << 16 | errno)
        })
    }
}

/// The error of a process that could not be started in its cage.
pub(super) fn explain(tool: &Tool, error: &io::Error) -> Error {
    let code = error.raw_os_error().unwrap_or(0);
    let errno = Errno::from_raw(code & 0xffff);
    let message = match WALLS.iter().find(|&&wall| wall as i32 == code >> 16) {
        Some(&wall) => reason(wall, errno, tool),
        None => started(tool, error),
    };
    Error::Sandbox(message)
}

/// Landlock's own errors, before the fork.
pub(super) fn landlock(error: landlock::RulesetError) -> Error {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Error::Sandbox(format!(
        "Landlock, which keeps programs from other files, is not available on this kernel ({}): {error}. It needs \
         Linux 5.13 or later with CONFIG_SECURITY_LANDLOCK, and `landlock` in the kernel's `lsm=` list \
         (/sys/kernel/security/lsm shows it); a container's seccomp profile must allow landlock_create_ruleset",
        release.trim()
    ))
}

/// Why the tool itself did not start.
fn started(tool: &Tool, error: &io::Error) -> String {
    let path = tool.path.display();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES) => match closed_to_others(&tool.path) {
            Some(dir) => format!(
                "{path} cannot be run: {} is closed to the user that programs run as. Install it where everyone can \
                 read it, such as /usr/local or /opt, or open that directory (chmod o+x)",
                dir.display()
            ),
            None => format!("{path} cannot be run: {error}. Is it executable, and on a file system without noexec?"),
        },
        Some(Errno::ENOENT) => format!("{path} is not there any more, or its dynamic loader is missing"),
        Some(Errno::EAGAIN | Errno::ENOMEM) => {
            format!("no new process could be started ({error}): the machine's or container's limit is reached")
        }
        _ => format!("{path} cannot be run: {error}"),
    }
}

fn reason(wall: Wall, errno: Errno, tool: &Tool) -> String {
    let errno = errno.desc();
    match wall {
        Wall::Bind => format!(
            "{} cannot be used: Meno runs as root and programs as user nobody, who cannot enter {}; mounting it \
             elsewhere is not allowed here ({errno}). Install it where everyone can read it, such as /usr/local or \
             /opt, or run Meno as the user who owns it",
            tool.path.display(),
            closed_to_others(&tool.path).unwrap_or_default().display()
        ),
        Wall::User => format!(
            "Meno runs as root and cannot become user nobody ({errno}). Give the container CAP_SETUID and \
             CAP_SETGID, or run Meno as an ordinary user"
        ),
        Wall::Namespaces => format!("user namespaces are not available ({errno}). {}", namespaces()),
        Wall::Maps => format!("the user of the new namespace could not be set ({errno}). {}", namespaces()),
        Wall::Mounts => {
            format!("the file system in memory could not be mounted in the new namespace ({errno}). {}", namespaces())
        }
        Wall::Init => format!(
            "the first process of the namespace could not be started ({errno}): the machine's or container's limit \
             of processes or memory is reached"
        ),
        Wall::Landlock => format!(
            "the Landlock rules could not be enforced ({errno}). A container's seccomp profile must allow \
             landlock_restrict_self"
        ),
        Wall::Limits => {
            format!(
                "the resource limits could not be set ({errno}): a limit of Meno's own process is lower (ulimit -H)"
            )
        }
    }
}

/// The setting of this machine that forbids user namespaces, and what changes it.
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
    fn every_wall_has_its_own_message() {
        let tool = Tool::at("/root/python/bin/python3".into());
        let mut seen = std::collections::HashSet::new();
        for wall in WALLS {
            let error = Err::<(), _>(Errno::EPERM).at(wall).unwrap_err();
            let message = explain(&tool, &error).to_string();
            assert!(message.contains("Operation not permitted"), "{message}");
            assert!(seen.insert(message.clone()), "twice: {message}");
        }
        let message = explain(&tool, &io::Error::from_raw_os_error(libc::EACCES)).to_string();
        assert!(message.contains("/root/python/bin/python3") && !message.contains("Landlock"), "{message}");
    }
}
