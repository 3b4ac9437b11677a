//! On whose behalf a script runs: native functions do what its caller may do, and no more.

use std::sync::Arc;

use rhai::Dynamic;

use crate::kernel::access::{Caller, Needs};
use crate::kernel::error::{Error, Kind, Result};

/// Who runs a script, and in which run. A script cannot see or change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptContext {
    /// On whose behalf.
    pub caller: Caller,
    /// In which run of a pipeline, if in one.
    pub run_id: Option<String>,
}

impl ScriptContext {
    /// What to give [`Call::tagged`](super::Call::tagged).
    pub fn into_tag(self) -> Dynamic {
        Dynamic::from(Arc::new(self))
    }

    /// The context of the call that is running on this thread, if it was given one: for native
    /// functions.
    pub fn current() -> Option<Arc<Self>> {
        super::tag().and_then(Dynamic::try_cast::<Arc<Self>>)
    }

    /// The caller, who must be allowed this. A script without a caller may do nothing.
    pub fn caller_with(needs: Needs) -> Result<Caller> {
        let context = Self::current().ok_or_else(|| {
            Error::new(
                Kind::Denied,
                "script_without_caller",
                "this script runs on nobody's behalf, so it may not reach the stores",
            )
        })?;
        context.caller.must(needs)?;
        Ok(context.caller.clone())
    }
}
