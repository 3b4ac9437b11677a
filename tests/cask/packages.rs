//! Packages as files: made, read, installed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use drip::cask::package::{
    Metadata, Parcel, Section, Workspace, file_name, inspect, install, pack, verify,
};

use super::{noise, parcel};

fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn workspace(folder: &Path, order: &[&str]) -> Workspace {
    let source = folder.join("source");
    for name in order {
        write(&source, name, name.as_bytes());
    }
    let workspace = Workspace::create(folder).unwrap();
    workspace.add(Section::Scripts, &source, false).unwrap();
    workspace
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = workspace(one.path(), &["b", "a/z", "a/y"]);
    let second = workspace(two.path(), &["a/y", "b", "a/z"]);
    let changed = two.path().join(".cask/scripts/source/b");
    fs::set_permissions(&changed, fs::Permissions::from_mode(0o600)).unwrap();
    let metadata = Metadata::new("a", "1.0.0");
    let bytes = first.parcel(metadata.clone()).unwrap().to_bytes().unwrap();
    assert_eq!(bytes, second.parcel(metadata.clone()).unwrap().to_bytes().unwrap());
    assert_eq!(bytes, pack(one.path(), metadata.clone()).unwrap());
    fs::write(&changed, "other").unwrap();
    assert_ne!(bytes, pack(two.path(), metadata).unwrap());
    // Nothing of the machine or the hour: the gzip header holds no time and no system.
    assert_eq!((&bytes[4..8], bytes[9]), (&[0; 4][..], 255));
}

#[test]
fn a_package_says_what_it_holds() {
    let bytes = parcel("wind-power", "1.2.0");
    let contents = verify(bytes.as_slice()).unwrap();
    let metadata = contents.metadata.unwrap();
    assert_eq!((metadata.name.as_str(), metadata.version.as_str()), ("wind-power", "1.2.0"));
    assert!(metadata.created_by.starts_with("dripctl "));
    let paths: Vec<_> = contents.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, [".cask/objects/deep/model.bin", ".cask/scripts/main.rhai"]);
    assert_eq!(contents.files[0].size, 50_000);
    assert_eq!(file_name("wind-power", "1.2.0"), "wind-power-1.2.0.caskpkg");
}

#[test]
fn long_and_foreign_names_survive_a_round_trip() {
    let mut parcel = Parcel::new(Metadata::new("a", "1"));
    let long = format!("{}/{}/f.bin", "long".repeat(40), "name".repeat(30));
    let names = [long.as_str(), "风电/模型, v1.json", "with \"quotes\",and commas", "空 格"];
    for name in names {
        parcel.add_bytes(Section::Objects, name, name.as_bytes().to_vec()).unwrap();
    }
    let bytes = parcel.to_bytes().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("t");
    assert_eq!(install(bytes.as_slice(), &target, false).unwrap().files, 4);
    for name in names {
        assert_eq!(fs::read(target.join(".cask/objects").join(name)).unwrap(), name.as_bytes());
    }
}

#[test]
fn an_install_is_whole_and_keeps_no_modes() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("deep/target");
    let mut parcel = Parcel::new(Metadata::new("a", "1"));
    parcel.add_bytes(Section::Scripts, "install.sh", b"touch ran".to_vec()).unwrap();
    let bytes = parcel.to_bytes().unwrap();
    let installed = install(bytes.as_slice(), &target, false).unwrap();
    assert!(installed.has_script);
    let script = target.join(".cask/scripts/install.sh");
    assert_eq!(fs::metadata(&script).unwrap().permissions().mode() & 0o777, 0o644);
    assert!(!target.join("ran").exists(), "no script runs by itself");
    assert!(target.join(".cask/logs").is_dir());
    assert!(target.join(".cask/METADATA.toml").is_file());
    assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1, "no stage stays");
}

#[test]
fn a_folder_that_is_not_empty_is_replaced_only_by_force_and_only_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path();
    write(target, "mine.txt", b"mine");
    write(target, ".cask/objects/old", b"old");
    let bytes = parcel("a", "1.0.0");
    let refused = install(bytes.as_slice(), target, false).unwrap_err();
    assert_eq!(refused.code(), "target_not_empty");
    assert!(target.join(".cask/objects/old").exists());
    install(bytes.as_slice(), target, true).unwrap();
    assert!(target.join("mine.txt").exists());
    assert!(!target.join(".cask/objects/old").exists());
    assert!(target.join(".cask/objects/deep/model.bin").exists());
    assert_eq!(fs::read_dir(target).unwrap().count(), 2);
    let empty = tempfile::tempdir().unwrap();
    install(bytes.as_slice(), empty.path(), false).unwrap();
}

#[test]
fn a_link_in_the_target_is_replaced_and_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (target, outside) = (folder.path().join("target"), folder.path().join("outside"));
    write(&outside, "canary", b"alive");
    write(&target, "x", b"");
    symlink(&outside, target.join(".cask")).unwrap();
    install(parcel("a", "1.0.0").as_slice(), &target, true).unwrap();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    assert!(target.join(".cask/objects/deep/model.bin").exists());
}

#[test]
fn what_cannot_be_packed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "s/a", b"a");
    symlink("/etc/passwd", folder.path().join("s/link")).unwrap();
    let refused = pack(&folder.path().join("s"), Metadata::new("a", "1")).unwrap_err();
    assert_eq!(refused.code(), "bad_entry");
    assert!(refused.detail().contains("link"));
    let mut parcel = Parcel::new(Metadata::new("a", "1"));
    for bad in ["../x", "/x", "", "a//b", "a/./b", "x/", "./x", "CON"] {
        let refused = parcel.add_bytes(Section::Objects, bad, Vec::new()).unwrap_err();
        assert_eq!(refused.code(), "bad_entry", "{bad}");
    }
    parcel.add_bytes(Section::Objects, "a", Vec::new()).unwrap();
    assert!(parcel.add_bytes(Section::Objects, "a", Vec::new()).is_err());
    let nameless = Parcel::new(Metadata::new("", "../1")).to_bytes().unwrap_err();
    assert_eq!((nameless.code(), nameless.faults().len()), ("bad_metadata", 2));
}

#[test]
fn a_package_without_metadata_installs_and_cannot_be_verified() {
    let mut tar =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (path, bytes) in
        [(".cask/objects/model.pkl", "pickled"), (".cask/scripts/run.py", "print()")]
    {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, bytes.as_bytes()).unwrap();
    }
    let bytes = tar.into_inner().unwrap().finish().unwrap();
    assert_eq!(inspect(bytes.as_slice()).unwrap().metadata, None);
    assert_eq!(verify(bytes.as_slice()).unwrap_err().code(), "nothing_to_verify");
    let folder = tempfile::tempdir().unwrap();
    install(bytes.as_slice(), &folder.path().join("t"), false).unwrap();
    assert_eq!(fs::read(folder.path().join("t/.cask/scripts/run.py")).unwrap(), b"print()");
    let store = super::Store::new();
    let pushed = store.cask.push_now(&super::ada(), "old", "0.1", bytes.into()).unwrap();
    assert_eq!(
        (pushed.item.metadata.name.as_str(), pushed.item.metadata.version.as_str()),
        ("old", "0.1")
    );
}

#[test]
fn a_workspace_keeps_structure_and_moves_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let workspace = Workspace::create(folder.path()).unwrap();
    write(folder.path(), "models/a/b.bin", &noise(10, 1));
    write(folder.path(), "one.yaml", b"x: 1");
    assert_eq!(workspace.add(Section::Objects, &folder.path().join("models"), true).unwrap(), 1);
    assert_eq!(workspace.add(Section::Configs, &folder.path().join("one.yaml"), false).unwrap(), 1);
    assert!(folder.path().join(".cask/objects/models/a/b.bin").is_file());
    assert!(!folder.path().join("models").exists(), "moved");
    assert!(folder.path().join("one.yaml").exists(), "copied");
    let again = workspace.add(Section::Configs, &folder.path().join("one.yaml"), false);
    assert_eq!(again.unwrap_err().code(), "bad_entry");
    let missing = workspace.add(Section::Configs, &folder.path().join("none"), false);
    assert_eq!(missing.unwrap_err().code(), "file_not_found");
    assert_eq!(Workspace::open(&folder.path().join("models")).unwrap_err().code(), "no_workspace");
}
