//! The parameters of the old calls: all are required, all are text, and every one that is missing
//! is named.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::kernel::http::Params;
use crate::kernel::{Error, Fault, Name, Result};

/// What stands after the `?`.
pub(super) struct Query(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Params(pairs) = Params::from_request_parts(parts, state).await?;
        Ok(Self(pairs))
    }
}

impl Query {
    /// The values of these parameters, in this order. Of one that is given twice the last counts, as
    /// in 0.1; one that nobody asks for is not looked at.
    pub(super) fn take(
        &self,
        names: impl IntoIterator<Item = &'static str>,
    ) -> Result<Vec<(&'static str, String)>> {
        let (mut taken, mut missing) = (Vec::new(), Vec::new());
        for name in names {
            let given = self.0.iter().rev().find(|(given, _)| given == name);
            match given {
                Some((_, text)) => taken.push((name, text.clone())),
                None => missing.push(Fault::new(name, "field required")),
            }
        }
        if missing.is_empty() {
            return Ok(taken);
        }
        Err(Error::invalid("missing_parameters", "parameters are missing", missing))
    }

    /// A name and a version under these parameters, both checked.
    pub(super) fn names(&self, name: &'static str, version: &'static str) -> Result<(Name, Name)> {
        let texts = self.take([name, version])?;
        let mut texts = texts.iter().map(|(parameter, text)| (*parameter, text.as_str()));
        read_names(texts.next().unwrap_or_default(), texts.next().unwrap_or_default())
    }
}

/// Checks a name and a version, each with its parameter; every fault is told.
pub(super) fn read_names(
    name: (&'static str, &str),
    version: (&'static str, &str),
) -> Result<(Name, Name)> {
    match (Name::new(name.1), Name::new(version.1)) {
        (Ok(name), Ok(version)) => Ok((name, version)),
        (read_name, read_version) => {
            let faults = |part: Result<Name>, parameter: &'static str| {
                let faults = part.err().map(|refused| refused.faults().to_vec());
                faults.into_iter().flatten().map(move |fault| Fault::new(parameter, fault.detail))
            };
            let all = faults(read_name, name.0).chain(faults(read_version, version.0)).collect();
            Err(Error::invalid("bad_name", "the name or the version cannot be held", all))
        }
    }
}
