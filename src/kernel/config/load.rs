//! The layers, one over the other. Every layer is read to its end before anything is refused.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::error;
use super::file::{ConfigFile, Leaf, read_bounded};
use super::key::Key;
use super::names::{Called, DATA_VARIABLE, NOT_SETTINGS, Names};
use super::secret::Secret;
use super::settings::{Entry, Settings, Source};
use super::value::{Value, short};
use crate::kernel::error::{Error, Fault, Result};

/// The largest file that is read as a secret.
const SECRET_MAX_BYTES: u64 = 64 << 10;
const DATA_KEY: &str = "server.data";

/// What [`Settings::load`] reads.
#[derive(Clone)]
pub struct LoadOptions<'a> {
    schema: &'a [&'a [Key]],
    file: Option<PathBuf>,
    default_file: Option<PathBuf>,
    env: Vec<(OsString, OsString)>,
    flags: Vec<(String, String)>,
}

impl<'a> LoadOptions<'a> {
    /// Defaults only: the settings of `schema`, in its order.
    pub fn new(schema: &'a [&'a [Key]]) -> Self {
        Self { schema, file: None, default_file: None, env: Vec::new(), flags: Vec::new() }
    }

    /// A file that was named: it must be there. Where none was, `DRIP_CONFIG` may name one.
    pub fn file(mut self, path: Option<PathBuf>) -> Self {
        self.file = path;
        self
    }

    /// A file that may be absent, read when none was named.
    pub fn default_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.default_file = Some(path.into());
        self
    }

    /// The environment, such as `std::env::vars_os()`; what does not begin with `DRIP_` is left
    /// alone.
    pub fn env<K, V>(mut self, variables: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        self.env = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, _)| name.as_encoded_bytes().starts_with(b"DRIP_"))
            .collect();
        // Faults come in the same order on every start.
        self.env.sort();
        self
    }

    /// Settings given as flags: full name and text. They are shown by their last word: the flag for
    /// `server.listen` is `--listen`.
    pub fn flags<K, V>(mut self, flags: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: Into<String>,
        V: Into<String>,
    {
        self.flags = flags.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self
    }
}

impl Settings {
    /// Reads every layer. The error names every fault of all of them, and where each one is.
    pub fn load(options: LoadOptions<'_>) -> Result<Self> {
        let file = find_file(&options)?;
        let mut loader = Loader::new(options.schema)?;
        if let Some(file) = &file {
            loader.read_file(file);
        }
        loader.read_environment(&options.env);
        loader.read_flags(&options.flags);
        loader.read_secret_files(file.as_ref());
        loader.finish(file)
    }
}

fn find_file(options: &LoadOptions<'_>) -> Result<Option<ConfigFile>> {
    let variable = || {
        let (_, path) = options.env.iter().find(|(name, _)| name == "DRIP_CONFIG")?;
        (!path.is_empty()).then(|| PathBuf::from(path))
    };
    match (options.file.clone().or_else(variable), &options.default_file) {
        (Some(named), _) => ConfigFile::named(&named).map(Some),
        (None, Some(usual)) => ConfigFile::if_there(usual),
        (None, None) => Ok(None),
    }
}

struct Loader {
    names: Names,
    given: HashMap<&'static str, (Value, Source)>,
    secret_files: HashMap<&'static str, (PathBuf, Source)>,
    /// Secret settings whose value stands in the file itself.
    exposed: bool,
    unknown: Vec<Fault>,
    bad: Vec<Fault>,
}

impl Loader {
    fn new(schema: &[&[Key]]) -> Result<Self> {
        let names = Names::new(schema)?;
        let mut given = HashMap::new();
        for key in names.keys() {
            if let Some(value) = key.default_value().map_err(Error::internal)? {
                given.insert(key.name, (value, Source::Default));
            }
        }
        Ok(Self {
            names,
            given,
            secret_files: HashMap::new(),
            exposed: false,
            unknown: Vec::new(),
            bad: Vec::new(),
        })
    }

    fn read_file(&mut self, file: &ConfigFile) {
        let (leaves, faults) = file.leaves(&|path| self.names.key(path).is_some());
        self.bad.extend(faults);
        for leaf in leaves {
            self.take_leaf(file, leaf);
        }
    }

    fn take_leaf(&mut self, file: &ConfigFile, leaf: Leaf) {
        let source = Source::File { place: file.place(leaf.line) };
        match self.names.called(&leaf.path) {
            Called::Key(key) => {
                self.exposed |= key.secret;
                self.keep(key, key.read(&leaf.value), source);
            }
            Called::SecretFile(key) => match leaf.value.as_str() {
                Some(path) => self.keep_secret_file(key, path, source, file.path.parent()),
                None => {
                    self.bad_value(&source, format!("`{}` must be the path of a file", leaf.path));
                }
            },
            Called::Section if leaf.value.as_table().is_some_and(toml::Table::is_empty) => {}
            Called::Section => {
                let path = &leaf.path;
                self.bad_value(
                    &source,
                    format!("`{path}` is a section: write [{path}] and its settings below"),
                );
            }
            Called::Nothing => {
                let sentence =
                    error::unknown_sentence(&leaf.path, self.names.suggestion(&leaf.path));
                self.unknown.push(Fault::new(source.to_string(), sentence));
            }
        }
    }

    fn read_environment(&mut self, env: &[(OsString, OsString)]) {
        let mut data = None;
        for (name, value) in env {
            if NOT_SETTINGS.iter().any(|known| name == known) {
                continue;
            }
            let shown = name.to_string_lossy();
            let source = Source::Variable(short(&shown));
            let Some(value) = value.to_str() else {
                self.bad_value(&source, format!("the value of `{}` is not UTF-8", short(&shown)));
                continue;
            };
            if name == DATA_VARIABLE {
                data = Some(value).filter(|folder| !folder.is_empty());
            } else {
                self.take_variable(&shown, value, source);
            }
        }
        if let Some(folder) = data {
            self.take_data_folder(folder);
        }
    }

    fn take_data_folder(&mut self, folder: &str) {
        let Some(key) = self.names.key(DATA_KEY) else {
            return;
        };
        let source = Source::Variable(DATA_VARIABLE.into());
        if let Some((value, Source::Variable(other))) = self.given.get(DATA_KEY)
            && value.show() != folder
        {
            let sentence =
                format!("`{DATA_VARIABLE}` and `{other}` name different data folders: keep one");
            return self.bad_value(&source, sentence);
        }
        self.keep(key, key.read_text(folder), source);
    }

    fn take_variable(&mut self, name: &str, value: &str, source: Source) {
        let words = name.strip_prefix("DRIP_").unwrap_or_default();
        let path = words.replace("__", ".").to_ascii_lowercase();
        let spelled = if words.bytes().any(|c| c.is_ascii_lowercase()) {
            Called::Nothing
        } else {
            self.names.called(&path)
        };
        match spelled {
            Called::Key(key) => self.keep(key, key.read_text(value), source),
            Called::SecretFile(key) => self.keep_secret_file(key, value, source, None),
            Called::Section => {
                let sentence = format!(
                    "`{name}` is a section: name one of its settings, such as `{}`",
                    self.names.example(&path)
                );
                self.unknown.push(Fault::new(source.to_string(), sentence));
            }
            Called::Nothing => {
                let near = self.names.variable_suggestion(name, &path);
                let sentence = error::unknown_sentence(name, near.as_deref());
                self.unknown.push(Fault::new(source.to_string(), sentence));
            }
        }
    }

    fn read_flags(&mut self, flags: &[(String, String)]) {
        for (name, value) in flags {
            let source = Source::Flag(name.rsplit('.').next().unwrap_or(name).to_owned());
            match self.names.called(name) {
                Called::Key(key) => self.keep(key, key.read_text(value), source),
                Called::SecretFile(key) => self.keep_secret_file(key, value, source, None),
                Called::Section | Called::Nothing => {
                    let sentence = error::unknown_sentence(name, self.names.suggestion(name));
                    self.unknown.push(Fault::new(source.to_string(), sentence));
                }
            }
        }
    }

    fn keep(&mut self, key: Key, value: Result<Value, String>, source: Source) {
        match value {
            Ok(value) => {
                self.given.insert(key.name, (value, source));
            }
            Err(sentence) => self.bad_value(&source, sentence),
        }
    }

    fn keep_secret_file(&mut self, key: Key, path: &str, source: Source, base: Option<&Path>) {
        if path.trim().is_empty() {
            return self.bad_value(&source, format!("`{}_file` is empty: name a file", key.name));
        }
        let path = base.map_or_else(|| PathBuf::from(path), |base| base.join(path));
        self.secret_files.insert(key.name, (path, source));
    }

    fn read_secret_files(&mut self, file: Option<&ConfigFile>) {
        for key in self.names.keys().to_vec() {
            let Some((path, source)) = self.secret_files.remove(key.name) else {
                continue;
            };
            if let Some((_, other)) = self.given.get(key.name) {
                let sentence = format!(
                    "`{0}` is given twice: here as `{0}_file`, and as a value ({other}): keep one",
                    key.name
                );
                self.bad_value(&source, sentence);
                continue;
            }
            match read_secret(&path) {
                Ok(secret) => {
                    let source = Source::SecretFile { named_by: Box::new(source), path };
                    self.given.insert(key.name, (Value::Secret(secret), source));
                }
                Err(why) => {
                    let shown = path.display();
                    self.bad_value(
                        &source,
                        format!("`{}_file`: the file `{shown}` {why}", key.name),
                    );
                }
            }
        }
        if let Some((file, mode)) =
            file.filter(|_| self.exposed).and_then(|f| Some((f, f.open_to_others()?)))
        {
            let path = file.path.display().to_string();
            let sentence = format!(
                "the file holds secrets and others may read or write it (mode {mode:04o}): run `chmod 600 {}`",
                shell_word(&path)
            );
            self.bad.push(Fault::new(path, sentence));
        }
    }

    fn bad_value(&mut self, source: &Source, sentence: String) {
        self.bad.push(Fault::new(source.to_string(), sentence));
    }

    fn finish(mut self, file: Option<ConfigFile>) -> Result<Settings> {
        if self.bad.is_empty() && !self.unknown.is_empty() {
            return Err(error::unknown(self.unknown));
        }
        if !self.bad.is_empty() {
            // A wrong setting may be named twice by two layers; saying it once is enough.
            let mut seen = HashSet::new();
            let mut all = self.unknown;
            all.append(&mut self.bad);
            all.retain(|fault| seen.insert((fault.pointer.clone(), fault.detail.clone())));
            return Err(error::bad(all));
        }
        let mut given = self.given;
        let entry = |key: Key| {
            let (value, source) = given.remove(key.name).unzip();
            Entry { key, value, source: source.unwrap_or(Source::Default) }
        };
        let entries = self.names.keys().iter().copied().map(entry).collect();
        Ok(Settings::new(entries, file.map(|file| file.path)))
    }
}

fn read_secret(path: &Path) -> Result<Secret, String> {
    let (text, _mode) = read_bounded(path, SECRET_MAX_BYTES)
        .map_err(|why| format!("cannot be read: {}", why.sentence))?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.trim().is_empty() { Err("is empty".into()) } else { Ok(Secret::new(text)) }
}

fn shell_word(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+:@".contains(c));
    if plain { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
