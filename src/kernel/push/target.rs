//! Where messages go: a URL, read and checked.

use reqwest::Url;

use super::address::{lookup, open_ones, refusal};

/// The longest URL, in bytes.
pub const URL_MAX_BYTES: usize = 2048;

/// A URL that messages can go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(Url);

impl Target {
    /// Reads a URL. The error is a sentence for every fault.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        if text.len() > URL_MAX_BYTES {
            return Err(vec![format!("is longer than {URL_MAX_BYTES} bytes")]);
        }
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(why) => return Err(vec![format!("is no URL ({why}): write https://host/path")]),
        };
        match url.scheme() {
            "https" if !cfg!(feature = "tls") => {
                faults.push("begins with https, and this build has no TLS".to_owned());
            }
            "http" | "https" => {}
            other => faults.push(format!("begins with `{other}`: use http or https")),
        }
        if !url.username().is_empty() || url.password().is_some() {
            faults
                .push("carries a user name or a password: messages are signed instead".to_owned());
        }
        if url.fragment().is_some() {
            faults.push("ends in a `#` part, which is never sent".to_owned());
        }
        if url.host_str().is_none_or(str::is_empty) {
            faults.push("names no host".to_owned());
        }
        if faults.is_empty() { Ok(Self(url)) } else { Err(faults) }
    }

    /// Checks the address that the URL names, or those that its name leads to now; waits for the
    /// answer. A name that leads nowhere yet is let through: it is looked at again when it is used.
    pub fn check(&self, allow_private: bool) -> Result<(), String> {
        self.check_literal(allow_private)?;
        match self.0.domain().map(|name| (name, lookup(name))) {
            Some((name, Ok(found))) => open_ones(name, found, allow_private).map(drop),
            Some((_, Err(_))) | None => Ok(()),
        }
    }

    /// Checks an address that stands in the URL itself: no name is asked for then, so nothing else
    /// would look at it. Names under `localhost` are this machine whatever anyone answers.
    pub(super) fn check_literal(&self, allow_private: bool) -> Result<(), String> {
        let host = self.0.host_str().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name = host.trim_end_matches('.');
        if !allow_private && (name == "localhost" || name.ends_with(".localhost")) {
            return Err(format!("`{name}` leads inside: it is a loopback address"));
        }
        match bare.parse().ok().and_then(|address| refusal(address, allow_private)) {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }

    pub(super) fn url(&self) -> Url {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_url_is_named() {
        let faults = Target::parse("ftp://ada:secret@example.org/x#y").unwrap_err();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(faults.iter().all(|fault| !fault.contains("secret")));
        for wrong in
            ["", "example.org", "/hook", "http://", "mailto:a@b", "http://[::1", "http://a b/"]
        {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
        let long = format!("http://example.org/{}", "x".repeat(URL_MAX_BYTES));
        assert!(Target::parse(&long).is_err());
        assert!(Target::parse("http://example.org:8080/hook?x=1").is_ok());
    }

    #[test]
    fn an_address_is_known_in_every_way_of_writing_it() {
        for inside in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.0.0.1:8080/",
            "http://0177.0.0.1/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://１２７.0.0.1/",
            "http://10.1.2.3/",
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            "http://localhost/",
            "http://LOCALHOST:80/",
            "http://localhost./",
            "http://any.localhost/",
        ] {
            let target = Target::parse(inside).unwrap();
            assert!(target.check(false).is_err(), "{inside}");
            assert_eq!(target.check(true), Ok(()), "{inside}");
        }
        for nowhere in ["http://0.0.0.0/", "http://0/", "http://[::]/", "http://224.0.0.1/"] {
            assert!(Target::parse(nowhere).unwrap().check(true).is_err(), "{nowhere}");
        }
        assert_eq!(Target::parse("http://1.1.1.1/").unwrap().check(false), Ok(()));
        // It leads nowhere, now.
        assert_eq!(Target::parse("http://nowhere.invalid/").unwrap().check(false), Ok(()));
    }
}
