//! The settings of all modules together.

use std::path::Path;

use crate::kernel::config::{KERNEL_KEYS, Key, Settings, Source};
use crate::kernel::error::{Error, Kind, Result};

/// The modules that this build has.
const BUILT: &[(&str, bool)] = &[
    ("fiche", cfg!(feature = "fiche")),
    ("cask", cfg!(feature = "cask")),
    ("trajectory", cfg!(feature = "trajectory")),
    ("liquid", cfg!(feature = "liquid")),
    ("atom", cfg!(feature = "atom")),
    ("dashare", cfg!(feature = "dashare")),
];

/// Every setting that this build knows.
pub fn schema() -> Vec<&'static [Key]> {
    vec![
        KERNEL_KEYS,
        #[cfg(feature = "fiche")]
        crate::fiche::KEYS,
        #[cfg(feature = "cask")]
        crate::cask::KEYS,
        #[cfg(feature = "trajectory")]
        crate::trajectory::KEYS,
        #[cfg(feature = "liquid")]
        crate::liquid::KEYS,
        #[cfg(feature = "liquid")]
        crate::liquid::process::KEYS,
        #[cfg(feature = "atom")]
        crate::atom::KEYS,
        #[cfg(feature = "dashare")]
        crate::dashare::KEYS,
    ]
}

/// The flag `--data` as a setting.
pub fn data_flag(data: Option<&Path>) -> Vec<(&'static str, String)> {
    data.map(|path| ("server.data", path.display().to_string())).into_iter().collect()
}

/// The modules to open. One that was asked for and is not built is an error; the default is what
/// there is.
pub(super) fn enabled(settings: &Settings) -> Result<Vec<&'static str>> {
    let wanted = settings.list("modules.enabled")?;
    let by_default = matches!(settings.source("modules.enabled"), Some(Source::Default) | None);
    let mut modules = Vec::new();
    for (name, is_built) in BUILT {
        if !wanted.iter().any(|module| module == name) {
            continue;
        }
        if *is_built {
            modules.push(*name);
        } else if !by_default {
            return Err(Error::new(
                Kind::Config,
                "module_not_built",
                format!("modules.enabled names `{name}`, which this build leaves out"),
            ));
        }
    }
    Ok(modules)
}

/// What is counted of a module's records: what it is called, and the prefix of its keys.
pub(super) fn counted(module: &str) -> &'static [(&'static str, &'static str)] {
    match module {
        "access" => &[("users", "user/"), ("tokens", "token/")],
        "fiche" => &[("cards", "card/")],
        "cask" => &[("buckets", "bucket/"), ("objects", "object/"), ("packages", "package/")],
        "liquid" => &[("pipelines", "pipeline/"), ("runs", "run/"), ("schedules", "schedule/")],
        "atom" => &[("datasets", "dataset/"), ("operators", "operator/")],
        "dashare" => &[("channels", "channel/")],
        _ => &[],
    }
}
