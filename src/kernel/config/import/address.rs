//! Addresses and URLs as people write them, and the passwords they leave in them.

use std::fmt::Write as _;

/// `http://minio:9000/x` as `minio:9000`.
pub(super) fn bare_host(text: &str) -> &str {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// A host that brings its port, or several that do; not an IPv6 address, which is full of colons.
pub(super) fn with_port(host: &str) -> Option<String> {
    if host.contains(',') {
        return Some(host.to_owned());
    }
    let (name, port) = host.rsplit_once(':')?;
    let one_colon = name.starts_with('[') || !name.contains(':');
    (one_colon && port.parse::<u16>().is_ok()).then(|| host.to_owned())
}

/// Whether an address with a port is this machine's.
pub(super) fn is_local(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host == "localhost" || host.starts_with("127.") || matches!(host, "0.0.0.0" | "[::1]" | "[::]")
}

/// A URL without the password in it, and whether there was one. Everything up to the last `@` counts
/// as credentials: rather a host too little than a password too much.
pub(super) fn without_password(text: &str) -> (String, bool) {
    let lower = text.to_ascii_lowercase();
    if ["password=", "secret=", "token=", "accesskey=", "pwd="]
        .iter()
        .any(|word| lower.contains(word))
    {
        let head = text.split(['?', ';']).next().unwrap_or_default();
        return (without_credentials(head).0, true);
    }
    without_credentials(text)
}

fn without_credentials(text: &str) -> (String, bool) {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let Some((credentials, host)) = rest.rsplit_once('@') else {
        return (text.to_owned(), false);
    };
    let Some((user, _password)) = credentials.split_once(':') else {
        return (text.to_owned(), false);
    };
    let slashes = if scheme.is_empty() { "" } else { "://" };
    (format!("{scheme}{slashes}{user}@{host}"), true)
}

/// `text` as a part of a URL.
pub(super) fn percent(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _infallible = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
