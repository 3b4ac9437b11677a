//! One error for the whole house: a [`Kind`] that decides the HTTP status and the exit code, a
//! stable word that programs match on, a sentence for people, and every fault that was found.

use std::fmt;
use std::time::Duration;

/// What an operation answers.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The meaning of a failure. It becomes a status in [`Kind::status`] and an exit code in
/// [`Kind::exit_code`], and nowhere else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The request could not be read at all (not JSON, cut off, a bad header).
    Malformed,
    /// The command line was wrong.
    Usage,
    /// No valid credential was shown.
    Unauthenticated,
    /// The caller is known and may not do this.
    Denied,
    /// It does not exist, or the caller may not know that it does.
    NotFound,
    /// The method does not exist for this path.
    NoMethod,
    /// It exists already, or is in a state that does not allow this.
    Conflict,
    /// The expected revision is not the current one.
    Stale,
    /// The body or the answer is larger than allowed.
    TooLarge,
    /// The media type is not one that this call reads.
    Unsupported,
    /// A byte range that lies outside the object.
    Range,
    /// It was read, and its content is wrong.
    Invalid,
    /// Too many requests, or a quota that is used up.
    Limited,
    /// The request stood still before it was complete.
    Stalled,
    /// It took longer than it may.
    TimedOut,
    /// A fault of ours.
    Internal,
    /// A store is not there, or closed its door after a failed sync.
    Unavailable,
    /// The disk, or a quota of bytes, is full.
    Full,
    /// Another daemon holds the data folder.
    Held,
    /// What is on disk was written by a newer Drip.
    Newer,
    /// A setting is wrong.
    Config,
    /// The operating system refused to read or write.
    Io,
}

impl Kind {
    /// The HTTP status for this kind.
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::Usage => 400,
            Self::Unauthenticated => 401,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::NoMethod => 405,
            Self::Stalled => 408,
            Self::Conflict | Self::Held => 409,
            Self::Stale => 412,
            Self::TooLarge => 413,
            Self::Unsupported => 415,
            Self::Range => 416,
            Self::Invalid => 422,
            Self::Limited => 429,
            Self::Internal | Self::Config => 500,
            Self::Unavailable | Self::Newer | Self::Io => 503,
            Self::TimedOut => 504,
            Self::Full => 507,
        }
    }

    /// The kind for a status that came over the wire.
    pub const fn from_status(status: u16) -> Self {
        match status {
            400 => Self::Malformed,
            401 => Self::Unauthenticated,
            403 => Self::Denied,
            404 => Self::NotFound,
            405 => Self::NoMethod,
            408 => Self::Stalled,
            409 => Self::Conflict,
            412 => Self::Stale,
            413 => Self::TooLarge,
            415 => Self::Unsupported,
            416 => Self::Range,
            422 => Self::Invalid,
            429 => Self::Limited,
            503 => Self::Unavailable,
            504 => Self::TimedOut,
            507 => Self::Full,
            _ => Self::Internal,
        }
    }

    /// The exit code of `dripctl` for this kind: 1 for a plain refusal, 2 for wrong usage, and the
    /// numbers of `sysexits.h` where a script may want to tell causes apart.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 2,
            Self::Newer => 65,
            Self::Unavailable | Self::Stalled | Self::TimedOut => 69,
            Self::Internal => 70,
            Self::Held => 73,
            Self::Io | Self::Full => 74,
            Self::Unauthenticated | Self::Denied => 77,
            Self::Config => 78,
            _ => 1,
        }
    }

    /// A short title for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Malformed => "The request cannot be read",
            Self::Usage => "Wrong usage",
            Self::Unauthenticated => "A credential is needed",
            Self::Denied => "Not allowed",
            Self::NotFound => "Not found",
            Self::NoMethod => "Method not allowed",
            Self::Conflict => "Conflict",
            Self::Stale => "The revision is stale",
            Self::TooLarge => "Too large",
            Self::Unsupported => "Unsupported media type",
            Self::Range => "Range not satisfiable",
            Self::Invalid => "Invalid content",
            Self::Limited => "Too many requests",
            Self::Stalled => "The request stood still",
            Self::TimedOut => "Took too long",
            Self::Internal => "Internal error",
            Self::Unavailable => "Unavailable",
            Self::Full => "No space left",
            Self::Held => "The data folder is held",
            Self::Newer => "Written by a newer Drip",
            Self::Config => "Wrong setting",
            Self::Io => "Reading or writing failed",
        }
    }
}

/// One fault in what was sent: where (an RFC 6901 pointer, a line, a column) and what.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fault {
    /// Where: a JSON pointer such as `/labels/site`, or `line 7`.
    pub pointer: String,
    /// What is wrong there, and what would be right.
    pub detail: String,
}

/// A failure that can be shown: see the module's first line.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    code: &'static str,
    detail: String,
    faults: Vec<Fault>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// A failure of `kind`; `code` is the stable word, `detail` the sentence for people.
    pub fn new(kind: Kind, code: &'static str, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            code,
            detail: detail.into(),
            faults: Vec::new(),
            retry_after: None,
            source: None,
        }))
    }

    /// Invalid content with every fault that was found.
    pub fn invalid(code: &'static str, detail: impl Into<String>, faults: Vec<Fault>) -> Self {
        let mut error = Self::new(Kind::Invalid, code, detail);
        error.0.faults = faults;
        error
    }

    /// A fault of ours. The detail is for the log; people are shown an id.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "internal", detail)
    }

    /// The operating system refused; `what` says what was being done, to which file.
    pub fn io(what: impl fmt::Display, source: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        let (kind, code) = match source.kind() {
            StorageFull | QuotaExceeded => (Kind::Full, "disk_full"),
            _ => (Kind::Io, "io"),
        };
        Self::new(kind, code, format!("{what}: {source}")).caused_by(source)
    }

    /// Keeps what caused this, for the log.
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says when to try again.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Adds faults to those already there.
    pub fn with_faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.0.faults.extend(faults);
        self
    }

    /// Puts `what` in front of the sentence.
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.0.detail = format!("{what}: {}", self.0.detail);
        self
    }

    /// What it means.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stable word that programs match on.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// Every fault that was found.
    pub fn faults(&self) -> &[Fault] {
        &self.0.faults
    }

    /// How long to wait before trying again, where that is known.
    pub fn wait(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

impl Fault {
    /// A fault at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.detail)?;
        for fault in &self.0.faults {
            write!(f, "\n  {}: {}", fault.pointer, fault.detail)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}: {self}", self.0.kind, self.0.code)?;
        if let Some(source) = &self.0.source {
            write!(f, " (caused by {source:?})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_and_its_kind_agree() {
        for status in [400, 401, 403, 404, 405, 409, 412, 413, 415, 416, 422, 429, 503, 504, 507] {
            assert_eq!(Kind::from_status(status).status(), status);
        }
    }

    #[test]
    fn a_full_disk_is_told_apart_from_other_io() {
        let full = Error::io("write", std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!((full.kind(), full.kind().status()), (Kind::Full, 507));
        let other = Error::io("write", std::io::Error::from(std::io::ErrorKind::NotFound));
        assert_eq!(other.kind(), Kind::Io);
    }
}
