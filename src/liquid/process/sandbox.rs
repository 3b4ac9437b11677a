//! What a process may do: read what it needs, write to its own folder, connect to the daemon, and no
//! more, as far as the kernel can hold it to that.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath,
    PathFd, Ruleset, RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetStatus,
    Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};

use super::spec::{Report, Spec};

/// What every program needs to read: libraries, time zones, certificates, what the processor can.
const SYSTEM: &[&str] = &[
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ssl",
    "/etc/ca-certificates",
    "/etc/mime.types",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/fonts",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/version",
    "/sys/devices/system/cpu",
];
/// Devices that hold nothing.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];
/// The newest set of rules that is known here.
const RULES: ABI = ABI::V6;

/// Bounds what this process and those it starts may take.
pub(super) fn limit(spec: &Spec, report: &mut Report) {
    for (name, resource, most) in [
        ("memory", Resource::As, spec.memory),
        ("processor time", Resource::Cpu, spec.cpu),
        ("file size", Resource::Fsize, spec.file),
        ("open files", Resource::Nofile, 256),
        ("no core file", Resource::Core, 0),
    ] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        note(report, name, setrlimit(resource, limit).is_ok());
    }
}

/// Fences this thread and what it starts in; answers whether the kernel does all of it.
pub(super) fn fence(spec: &Spec, report: &mut Report) -> bool {
    let privileges = rustix::thread::set_no_new_privs(true).is_ok();
    note(report, "no new privileges", privileges);
    match rules(spec).and_then(|rules| Ok(rules.restrict_self()?)) {
        Ok(status) => {
            let whole = status.ruleset == RulesetStatus::FullyEnforced;
            note(report, "landlock", status.ruleset != RulesetStatus::NotEnforced);
            note(report, "landlock: files, network and signals in full", whole);
            whole && privileges
        }
        Err(why) => {
            report.missing.push(format!("landlock ({why})"));
            false
        }
    }
}

fn note(report: &mut Report, what: &str, active: bool) {
    let place = if active { &mut report.active } else { &mut report.missing };
    place.push(what.to_owned());
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn rules(spec: &Spec) -> Result<RulesetCreated, Failed> {
    let read = AccessFs::from_read(RULES);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?;
    let system = SYSTEM.iter().map(PathBuf::from);
    for path in system.chain(spec.read.iter().cloned()) {
        rules = allow(rules, &path, read)?;
    }
    let device = AccessFs::ReadFile | AccessFs::WriteFile;
    for path in DEVICES {
        rules = allow(rules, Path::new(path), device)?;
    }
    rules = allow(rules, &spec.folder, AccessFs::from_all(RULES))?;
    if let Some(port) = spec.port {
        rules = rules.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    Ok(rules)
}

/// Allows what is there; what is not needs no rule.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, Failed> {
    let Ok(file) = PathFd::new(path) else { return Ok(rules) };
    // Of a file only what can be done with files is allowed.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(RULES) };
    Ok(rules.add_rule(PathBeneath::new(file, access))?)
}
