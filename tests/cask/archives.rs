//! Hostile archives: each is refused with its reason, and nothing outside the folder is touched.

use std::io::Write as _;
use std::path::Path;

use drip::cask::package::{Limits, inspect, inspect_within, install};
use drip::kernel::Error;
use flate2::Compression;
use flate2::write::GzEncoder;

/// One entry as it stands in an archive.
#[derive(Clone)]
struct Raw {
    name: Vec<u8>,
    kind: u8,
    link: Vec<u8>,
    size: u64,
    data: Vec<u8>,
}

fn entry(name: &str, kind: u8, data: &[u8]) -> Raw {
    Raw {
        name: name.as_bytes().to_vec(),
        kind,
        link: Vec::new(),
        size: data.len() as u64,
        data: data.to_vec(),
    }
}

fn file(name: &str, data: &[u8]) -> Raw {
    entry(name, b'0', data)
}

fn link(name: &str, kind: u8, to: &str) -> Raw {
    Raw { link: to.as_bytes().to_vec(), ..entry(name, kind, b"") }
}

impl Raw {
    fn says(self, size: u64) -> Self {
        Self { size, ..self }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, b"0000777\0");
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", self.size).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, &self.link[..self.link.len().min(100)]);
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(header);
        out.extend(&self.data);
        out.resize(out.len().div_ceil(512) * 512, 0);
    }
}

fn tar(entries: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        entry.write(&mut out);
    }
    out.extend([0; 1024]);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn package(entries: &[Raw]) -> Vec<u8> {
    gzip(&tar(entries))
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in records {
        let body = format!(" {key}={value}\n");
        let mut length = body.len() + 1;
        while format!("{length}{body}").len() != length {
            length = format!("{length}{body}").len();
        }
        out.extend(format!("{length}{body}").as_bytes());
    }
    out
}

fn pax_entry(records: &[(&str, &str)]) -> Raw {
    entry("PaxHeader", b'x', &pax(records))
}

/// A hostile archive: what it is, its bytes, and a word that its refusal must hold.
type Hostile = (&'static str, Vec<u8>, &'static str);

/// Every hostile archive.
fn corpus() -> Vec<Hostile> {
    [paths_and_kinds(), extensions(), whole_archives()].concat()
}

/// Names that lead elsewhere, and entries that are no files.
fn paths_and_kinds() -> Vec<Hostile> {
    let ok = file(".cask/objects/ok", b"fine");
    let deep = "d/".repeat(40) + "f";
    let long = "x".repeat(3000);
    vec![
        ("a parent above", package(&[file("../evil", b"x")]), "`..`"),
        ("a parent within", package(&[file("a/../../evil", b"x")]), "`..`"),
        ("an absolute path", package(&[file("/tmp/evil", b"x")]), "absolute"),
        ("two slashes first", package(&[file("//tmp/evil", b"x")]), "absolute"),
        ("a backslash", package(&[file("..\\evil", b"x")]), "`\\`"),
        ("a drive", package(&[file("C:evil", b"x")]), "drive"),
        ("a device name", package(&[file("a/NUL.txt", b"x")]), "device"),
        ("a control character", package(&[file("a\nb", b"x")]), "control"),
        ("an empty part", package(&[file("a//b", b"x")]), "empty part"),
        ("a dot within", package(&[file("a/./b", b"x")]), "`.`"),
        ("an empty name", package(&[file("", b"x")]), "empty"),
        ("the root as a file", package(&[file(".", b"x")]), "no name"),
        ("too deep", package(&[pax_entry(&[("path", &deep)]), file("x", b"x")]), "deep"),
        ("too long", package(&[pax_entry(&[("path", &long)]), file("x", b"x")]), "longer"),
        ("not UTF-8", package(&[Raw { name: vec![b'a', 0xff], ..ok.clone() }]), "UTF-8"),
        ("a symbolic link", package(&[link("l", b'2', "/etc/passwd")]), "symbolic link"),
        (
            "a link, then a file through it",
            package(&[link("l", b'2', "/tmp"), file("l/evil", b"x")]),
            "symbolic link",
        ),
        ("a hard link", package(&[link("l", b'1', "/etc/shadow")]), "hard link"),
        ("a character device", package(&[entry("d", b'3', b"")]), "device"),
        ("a block device", package(&[entry("d", b'4', b"")]), "device"),
        ("a pipe", package(&[entry("p", b'6', b"")]), "pipe"),
        ("a sparse file", package(&[entry("s", b'S', b"")]), "sparse"),
        ("an unknown kind", package(&[entry("u", b'V', b"")]), "neither"),
        ("a contiguous file", package(&[entry("u", b'7', b"")]), "neither"),
        ("a file twice", package(&[ok.clone(), ok.clone()]), "twice"),
        ("twice by a leading dot", package(&[file("a", b"1"), file("./a", b"2")]), "twice"),
        ("twice in two forms", package(&[file("e\u{301}", b"1"), file("\u{e9}", b"2")]), "twice"),
        ("a folder twice", package(&[entry("d", b'5', b""), entry("d/", b'5', b"")]), "twice"),
        ("a file, then inside it", package(&[file("a", b"1"), file("a/b", b"2")]), "inside a file"),
        ("a folder, then a file", package(&[file("a/b", b"1"), file("a", b"2")]), "both"),
        ("a file, then a folder", package(&[file("a", b"1"), entry("a", b'5', b"")]), "both"),
        ("a folder with bytes", package(&[entry("d/", b'5', b"hidden")]), "of its own"),
        ("a size beyond the limit", package(&[file("a", b"x").says(0o77_777_777_777)]), "4 GiB"),
        ("a size beyond the end", package(&[file("a", b"x").says(1 << 20)]), "cut off"),
        (
            "another size in an extension",
            package(&[pax_entry(&[("size", "4")]), file("a", b"0123456789")]),
            "differ in its size",
        ),
        (
            "a size that is none",
            package(&[pax_entry(&[("size", "-1")]), file("a", b"x")]),
            "cannot be read",
        ),
        (
            "an unknown keyword",
            package(&[pax_entry(&[("GNU.sparse.name", "x")]), file("a", b"x")]),
            "GNU.sparse.name",
        ),
    ]
}

/// What extensions and long names can hide.
fn extensions() -> Vec<Hostile> {
    let ok = file(".cask/objects/ok", b"fine");
    vec![
        (
            "a path twice in an extension",
            package(&[pax_entry(&[("path", "a"), ("path", "../b")]), file("c", b"x")]),
            "twice",
        ),
        (
            "an escape in an extension",
            package(&[pax_entry(&[("path", "../evil")]), file("a", b"x")]),
            "`..`",
        ),
        (
            "a link in an extension",
            package(&[pax_entry(&[("linkpath", "/etc")]), file("a", b"x")]),
            "link",
        ),
        (
            "an escape in a long name",
            package(&[entry("L", b'L', b"../evil\0"), file("a", b"x")]),
            "`..`",
        ),
        (
            "a NUL in a long name",
            package(&[entry("L", b'L', b"ok\0../evil\0"), file("a", b"x")]),
            "control",
        ),
        ("a long link", package(&[entry("L", b'K', b"/etc\0"), file("a", b"x")]), "link"),
        (
            "two long names",
            package(&[entry("L", b'L', b"a\0"), entry("L", b'L', b"b\0"), file("c", b"x")]),
            "two extension",
        ),
        (
            "a long name and a path",
            package(&[entry("L", b'L', b"a\0"), pax_entry(&[("path", "b")]), file("c", b"x")]),
            "two extension",
        ),
        (
            "an extension of nothing",
            package(&[ok.clone(), pax_entry(&[("path", "b")])]),
            "followed by nothing",
        ),
        (
            "a huge extension",
            package(&[entry("x", b'x', &vec![b'1'; 70_000]), file("a", b"x")]),
            "64 KiB",
        ),
        (
            "a broken extension",
            package(&[entry("x", b'x', b"99 path=a\n"), file("a", b"x")]),
            "cannot be read",
        ),
        (
            "an extension without an end",
            package(&[entry("x", b'x', b"7 path="), file("a", b"x")]),
            "cannot be read",
        ),
        (
            "a global path",
            package(&[entry("g", b'g', &pax(&[("path", "../a")])), file("a", b"x")]),
            "global",
        ),
    ]
}

/// Archives that are wrong as a whole.
fn whole_archives() -> Vec<Hostile> {
    let ok = file(".cask/objects/ok", b"fine");
    let mut bad_sum = tar(std::slice::from_ref(&ok));
    bad_sum[0] ^= 0xff;
    let hidden = [tar(std::slice::from_ref(&ok)), tar(&[file("hidden", b"x")])].concat();
    let good = package(std::slice::from_ref(&ok));
    let record = |text: &str| file(".cask/RECORD", text.as_bytes());
    vec![
        ("a bad checksum", gzip(&bad_sum), "checksum"),
        ("no tar inside", gzip(&super::noise(5000, 1)), "cannot be read"),
        ("no gzip", tar(std::slice::from_ref(&ok)), "cannot be read"),
        ("nothing", Vec::new(), "cut off"),
        ("half of it", good[..good.len() - 12].to_vec(), "cut off"),
        ("a second archive behind", gzip(&hidden), "behind the end"),
        ("a second gzip behind", [good.clone(), gzip(b"more")].concat(), "behind the compressed"),
        ("rubbish behind", [good.clone(), b"rubbish".to_vec()].concat(), "behind the compressed"),
        ("a gzip of zeros", package(&[file("zeros", &vec![0; 30 << 20])]), "200 times"),
        (
            "zeros behind the end",
            gzip(&[tar(std::slice::from_ref(&ok)), vec![0; 30 << 20]].concat()),
            "200 times",
        ),
        ("a record of something else", package(&[ok.clone(), record("other,00,1\n")]), "RECORD"),
        (
            "a record that lies",
            package(&[ok.clone(), record(&format!(".cask/objects/ok,{},4\n", "0".repeat(64)))]),
            "RECORD",
        ),
        ("metadata that is none", package(&[file(".cask/METADATA.toml", b"= =")]), "METADATA"),
        (
            "metadata with an escape",
            package(&[file(".cask/METADATA.toml", b"name='../x'\nversion='1'")]),
            "METADATA",
        ),
        (
            "huge metadata",
            package(&[file(".cask/METADATA.toml", &super::noise(70_000, 2))]),
            "larger than",
        ),
    ]
}

#[test]
fn every_hostile_archive_is_refused_with_its_reason() {
    let corpus = corpus();
    assert!(corpus.len() >= 60);
    for (what, bytes, word) in corpus {
        let refused = inspect(bytes.as_slice()).expect_err(what);
        assert!(refused.to_string().contains(word), "{what}: {refused}");
        assert_eq!(refused.kind().status(), 422, "{what}");
    }
}

/// All files and folders below, with the content of files.
fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        for entry in std::fs::read_dir(&path).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                waiting.push(entry.path());
                found.push((entry.path().display().to_string(), Vec::new()));
            } else {
                let content = std::fs::read(entry.path()).unwrap();
                found.push((entry.path().display().to_string(), content));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn no_hostile_archive_leaves_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let around = folder.path().join("around");
    std::fs::create_dir_all(around.join("full")).unwrap();
    std::fs::write(around.join("full/canary"), "alive").unwrap();
    let before = snapshot(folder.path());
    for (what, bytes, _) in corpus() {
        for (target, force) in [("new", false), ("full", true)] {
            let outcome = install(bytes.as_slice(), &around.join(target), force);
            assert!(outcome.is_err(), "{what}");
            assert_eq!(snapshot(folder.path()), before, "{what}");
        }
    }
}

#[test]
fn limits_end_what_is_merely_large() {
    let many: Vec<Raw> = (0..50).map(|n| file(&format!("f{n}"), b"")).collect();
    let few = Limits { entries: 49, ..Limits::default() };
    let within =
        |bytes: &[u8], limits: &Limits| -> Option<Error> { inspect_within(bytes, limits).err() };
    assert!(within(&package(&many), &few).unwrap().detail().contains("49 entries"));
    assert!(within(&package(&many[1..]), &few).is_none());
    let small = Limits { total: 99, ..Limits::default() };
    let two = [file("a", &[1; 50]), file("b", &[2; 50])];
    assert!(within(&package(&two), &small).is_some());
    let names = Limits { names: 100, ..Limits::default() };
    assert!(within(&package(&many), &names).unwrap().detail().contains("too long together"));
}

#[test]
fn archives_of_other_tools_are_read() {
    let old = [
        entry("./", b'5', b""),
        entry("./.cask/", b'5', b""),
        entry(".cask/scripts/", 0, b""),
        pax_entry(&[("path", ".cask/objects/风.bin"), ("mtime", "1.5"), ("size", "4")]),
        file("short", b"data"),
        entry("g", b'g', &pax(&[("comment", "made by git")])),
        Raw { kind: 0, ..file("./.cask/configs/a.yaml", b"a: 1") },
        entry("L", b'L', format!(".cask/objects/{}\0", "n".repeat(120)).as_bytes()),
        file("cut", b"x"),
    ];
    let contents = inspect(package(&old).as_slice()).unwrap();
    let paths: Vec<_> = contents.files.iter().map(|file| file.path.as_str()).collect();
    let long = format!(".cask/objects/{}", "n".repeat(120));
    assert_eq!(paths, [".cask/configs/a.yaml", &long, ".cask/objects/风.bin"]);
    assert_eq!((contents.metadata, contents.recorded), (None, false));
}

/// Parts of a path that are refused wherever they stand.
const HOSTILE_PARTS: [&str; 34] = [
    "..",
    "...",
    ". .",
    "a.",
    "b..",
    " ",
    "a ",
    ".. ",
    "\t",
    "a\nb",
    "\r",
    "\u{7f}",
    "\u{85}",
    "\u{1b}[2J",
    "con",
    "CON",
    "Con.txt",
    "prn",
    "aux",
    "AUX.tar.gz",
    "nul",
    "NUL ",
    "com1",
    "com9.x",
    "COM5",
    "lpt1",
    "LPT9.txt",
    "C:",
    "c:x",
    "Z:\\x",
    "a\\b",
    "\\",
    "..\\x",
    "\\\\server",
];
const TEMPLATES: [&str; 10] = [
    "{}",
    "a/{}",
    "{}/b",
    "a/{}/b",
    "./{}",
    "./a/{}",
    "a/b/c/{}",
    "风/{}",
    "{}/{}",
    ".cask/objects/{}",
];

#[test]
fn hundreds_of_hostile_names_are_refused_and_touch_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let around = folder.path().join("around");
    std::fs::create_dir_all(&around).unwrap();
    std::fs::write(around.join("canary"), "alive").unwrap();
    let before = snapshot(folder.path());
    let (long, deep) = ("y".repeat(256), "d/".repeat(40));
    let more = [long.as_str(), "/etc/passwd", "//x", deep.as_str()].map(str::to_owned);
    let of_part = |part: &str| TEMPLATES.map(|template| template.replace("{}", part));
    let names: Vec<String> =
        HOSTILE_PARTS.iter().flat_map(|part| of_part(part)).chain(more).collect();
    assert!(names.len() >= 300, "{}", names.len());
    for name in names {
        // By an extended header: it holds names of any length and with any character.
        let bytes = package(&[pax_entry(&[("path", &name)]), file("short", b"x")]);
        let refused = install(bytes.as_slice(), &around.join("new"), false).expect_err(&name);
        assert_eq!(refused.kind().status(), 422, "{name:?}: {refused}");
        assert_eq!(snapshot(folder.path()), before, "{name:?}");
    }
}

/// Names of objects never become names of files, so what they may be is a matter of what people can
/// tell apart.
#[test]
fn no_key_leads_out_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("canary"), "alive").unwrap();
    let inside = folder.path().join("blobs");
    let store = super::Store::over(drip::kernel::blobs::Blobs::folder(&inside).unwrap());
    let mut refused = 0;
    for part in HOSTILE_PARTS {
        for template in TEMPLATES {
            let key = template.replace("{}", part);
            match store.try_put("models", &key, super::noise(40_000, 1)) {
                Ok(_) => assert_eq!(store.cask.get("models", &key).unwrap().size(), 40_000),
                Err(error) => {
                    assert_eq!((error.kind().status(), error.code()), (422, "bad_key"), "{key:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 50, "{refused}");
    let files = snapshot(folder.path());
    let plain: Vec<_> = files.iter().filter(|(_, content)| !content.is_empty()).collect();
    assert_eq!(plain.len(), 2, "one chunk and the canary: {:?}", plain.iter().map(|f| &f.0));
}

/// Cases of each property; `FUZZ_CASES` for runs of minutes.
fn cases() -> u32 {
    u32::try_from(crate::support::number_from_env("FUZZ_CASES", 64)).unwrap()
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: cases(), ..Default::default() })]

    #[test]
    fn no_damage_makes_the_reader_panic(at in 0_usize..1024, bit in 0_u8..8, cut in 0_usize..3000) {
        let entries = [pax_entry(&[("path", "a/b")]), file("c", b"x"), file("d", &[7; 600])];
        let mut plain = tar(&entries);
        let place = at % plain.len();
        plain[place] ^= 1 << bit;
        plain.truncate(cut.max(1));
        let _either = inspect(gzip(&plain).as_slice());
        let mut packed = package(&entries);
        let place = at % packed.len();
        packed[place] ^= 1 << bit;
        let _either = inspect(packed.as_slice());
    }

    /// Any bytes at all, and bytes that begin as an archive does.
    #[test]
    fn no_bytes_make_the_reader_panic(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..4000),
    ) {
        let _either = inspect(bytes.as_slice());
        let _either = inspect(gzip(&bytes).as_slice());
        let mut tail = tar(&[file("ok", b"fine")]);
        tail.truncate(1024);
        tail.extend(&bytes);
        let _either = inspect(gzip(&tail).as_slice());
    }

    /// Entries of any kind with any name, size and link.
    #[test]
    fn no_entries_make_the_reader_panic(
        entries in proptest::collection::vec(
            (
                proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
                proptest::prelude::any::<u8>(),
                proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100),
                0_u64..100_000,
                proptest::collection::vec(proptest::prelude::any::<u8>(), 0..700),
            ),
            1..5,
        ),
    ) {
        let raw: Vec<Raw> = entries
            .into_iter()
            .map(|(name, kind, link, size, data)| Raw { name, kind, link, size, data })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let before = snapshot(folder.path());
        let target = folder.path().join("new");
        if install(package(&raw).as_slice(), &target, false).is_err() {
            proptest::prop_assert_eq!(snapshot(folder.path()), before);
        }
    }

    /// A key that is taken comes back as it went, and stands once in its place in the list.
    #[test]
    fn keys_come_back_as_they_went(
        keys in proptest::collection::btree_set("[a-c/ %+?&=#.\u{e9}\u{301}风\u{10ffff}]{1,12}", 1..12),
    ) {
        let store = super::Store::new();
        let mut kept = Vec::new();
        for key in keys {
            if store.try_put("models", &key, key.clone().into_bytes()).is_ok() {
                kept.push(key);
            }
        }
        for limit in [1, 3, 1000] {
            let (mut after, mut listed) = (None, Vec::new());
            loop {
                let listing =
                    drip::cask::Listing { limit, after: after.take(), ..Default::default() };
                let (page, end) = store.cask.list("models", &listing).unwrap();
                listed.extend(page.items.into_iter().map(|item| item.key));
                after = end;
                if after.is_none() {
                    break;
                }
            }
            proptest::prop_assert_eq!(&listed, &kept);
        }
        // With a delimiter every key is shown: by itself, or by the prefix that stands for it.
        let listing = drip::cask::Listing {
            limit: 1000,
            delimiter: Some("/".to_owned()),
            ..Default::default()
        };
        let (page, _) = store.cask.list("models", &listing).unwrap();
        let prefixes: std::collections::BTreeSet<String> = kept
            .iter()
            .filter_map(|key| Some(format!("{}/", key.split_once('/')?.0)))
            .collect();
        proptest::prop_assert_eq!(page.prefixes, prefixes.into_iter().collect::<Vec<_>>());
    }
}
