//! Writes a bundle.
//!
//! *Invariant:* the files appear whole, each under its name only when all of them are on the disk.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::{self, BufWriter, Read as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use tokio::runtime::Handle;

use super::{
    Origin,
    gather::{GatherError, Gathered, gather},
    partly,
    selection::{LeftOut, Selection},
    stored::{StoreContents, StoredError},
};
use crate::{
    bundle::{
        Archive, ArchivePart, CatalogError, DigestList, DigestListError, HeadError, KeyError, ListKind, SigningKey,
        TooLarge, divide, is_bundle,
    },
    diagnostic::{Kind, diagnose},
    disk,
    model::{Secret, Sha256Digest},
    ops::{Context, blocking},
    progress::Unit,
    store::StoreError,
};

/// The longest list of digests that is read, and the longest secret key.
const LONGEST_LIST: u64 = 64 << 20;
const LONGEST_KEY: u64 = 64 << 10;
/// How many of the last bundles it is remembered what they listed.
const REMEMBERED: usize = 100;

/// Which bundle to write, and where.
#[derive(Debug)]
pub(crate) struct CreateOptions {
    /// A file, or a folder that the file gets a name in.
    pub out: PathBuf,
    /// What belongs to the bundle.
    pub selection: Selection,
    /// What the other side has already: a bundle, the name of a generation, or a list of `bundle have`.
    pub since: Option<String>,
    /// What the other side lacks: a list of `bundle want`.
    pub want: Option<PathBuf>,
    /// The greatest length of a file in bytes.
    pub part_size: Option<u64>,
    /// Who signs it.
    pub signers: Vec<Signer>,
}

/// A secret key in a file.
#[derive(Debug)]
pub(crate) struct Signer {
    /// The file.
    pub path: PathBuf,
    /// Its password, if it has one.
    pub password: Option<Secret>,
}

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct CreateOutcome {
    /// The name of the generation.
    pub generation: String,
    /// The source of the catalog.
    pub source: String,
    /// How many packages the files hold.
    pub packages: usize,
    /// How many packages belong to the bundle, those that the other side has included.
    pub listed: usize,
    /// How many bytes the files have.
    pub bytes: u64,
    /// The files.
    pub files: Vec<PathBuf>,
    /// What does not belong to the bundle, although it was asked for.
    pub left_out: Vec<LeftOut>,
}

impl CreateOutcome {
    /// Returns the kind of failure: something was left out.
    pub(crate) fn kind(&self) -> Option<Kind> {
        partly(self.left_out.iter().any(|one| !one.is_denied))
    }
}

/// No bundle was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CreateError {
    /// What it lists cannot be found out.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// The store cannot be used.
    #[error("no bundle was written")]
    Store(#[from] StoreError),
    /// A package cannot be read.
    #[error("no bundle was written")]
    Stored(#[from] StoredError),
    /// Its documents cannot be made.
    #[error("no bundle was written")]
    Catalog(#[from] CatalogError),
    /// A package is larger than a file may be.
    #[error("no bundle was written")]
    TooLarge(#[from] TooLarge),
    /// A file cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the other side has is not known.
    #[error("`{0}` is neither a bundle nor a list of packages, and no generation of this cache")]
    Since(String),
    /// A list or a key cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A list is none.
    #[error("`{}` is no list of packages", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// Why.
        source: DigestListError,
    },
    /// The bundle that the other side has cannot be read.
    #[error("what the other side has cannot be read")]
    Open(#[from] HeadError),
    /// The secret key cannot be used.
    #[error("`{}` cannot sign", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// Why.
        source: KeyError,
    },
}

diagnose!(CreateError {
    forward Gather, Store, Stored, Catalog, TooLarge, Open, Key { source }, List { source };
    Write | Read => Kind::Storage;
    Since => Kind::Usage,
        "name a bundle, a file that `plugport bundle have` printed on the other side, or a generation that was created here";
});

/// Writes a bundle.
pub(crate) async fn create(context: &Context, options: CreateOptions) -> Result<CreateOutcome, CreateError> {
    let stored: HashMap<_, _> =
        context.store().list().await?.into_iter().map(|package| (package.digest, package.size)).collect();
    let documents = tempfile::tempfile().map_err(GatherError::Documents)?;
    let selection = options.selection.clone();
    let gathered = context.index().proven(move |index| gather(index, &selection, &stored, documents)).await?;
    let (context, runtime) = (context.clone(), Handle::current());
    blocking(move || write(&context, runtime, &options, gathered)).await
}

fn write(
    context: &Context,
    runtime: Handle,
    options: &CreateOptions,
    gathered: Gathered,
) -> Result<CreateOutcome, CreateError> {
    let Gathered { catalog, documents, left_out } = gathered;
    let generation = catalog.generation().clone();
    let mut packages = catalog.sizes()?;
    remember(context, &generation.id(), packages.keys());
    let listed = packages.len();
    keep_wanted(context, options, &mut packages)?;
    let document = catalog.to_bytes()?;
    let comment = format!(
        "plugport bundle, generation {}, time {}, source {}",
        generation.id(),
        generation.time,
        generation.source.replace(char::is_control, " ")
    );
    let signatures = options.signers.iter().map(|signer| signer.sign(&document, &comment)).collect::<Result<_, _>>()?;
    let held = packages.len();
    let archive = Archive::new(catalog, document, signatures)?;
    let parts = divide(packages, archive.size_without_packages()?, options.part_size)?;
    let paths = paths(&options.out, &generation.id(), parts.len());
    let contents = StoreContents { context, runtime, documents: &documents, fault: None };
    let bytes = write_parts(&archive, &parts, &paths, contents)?;
    Ok(CreateOutcome {
        generation: generation.id(),
        source: generation.source,
        packages: held,
        listed,
        bytes,
        files: paths,
        left_out,
    })
}

impl Signer {
    fn sign(&self, document: &[u8], comment: &str) -> Result<String, CreateError> {
        let path = &self.path;
        let text = read_text(path, LONGEST_KEY)?;
        let key = SigningKey::open(&text, self.password.as_ref());
        let signed = key.and_then(|key| key.sign(document, comment));
        signed.map_err(|source| CreateError::Key { path: path.clone(), source })
    }
}

fn read_text(path: &Path, longest: u64) -> Result<String, CreateError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(longest).read_to_string(&mut text));
    read.map_err(|source| CreateError::Read { path: path.to_path_buf(), source })?;
    Ok(text)
}

/// Leaves what the other side does not have.
fn keep_wanted(
    context: &Context,
    options: &CreateOptions,
    packages: &mut BTreeMap<Sha256Digest, u64>,
) -> Result<(), CreateError> {
    if let Some(path) = &options.want {
        let wanted = read_list(path, ListKind::Want)?;
        packages.retain(|digest, _| wanted.contains(digest));
    }
    if let Some(since) = &options.since {
        let had = had(context, since)?;
        packages.retain(|digest, _| !had.contains(digest));
    }
    Ok(())
}

fn read_list(path: &Path, kind: ListKind) -> Result<BTreeSet<Sha256Digest>, CreateError> {
    let list = DigestList::parse(&read_text(path, LONGEST_LIST)?);
    match list {
        Ok(list) if list.kind == kind => Ok(list.digests),
        Ok(_) => Err(CreateError::List { path: path.to_path_buf(), source: DigestListError::Header }),
        Err(source) => Err(CreateError::List { path: path.to_path_buf(), source }),
    }
}

/// Returns the packages that the other side has.
fn had(context: &Context, since: &str) -> Result<BTreeSet<Sha256Digest>, CreateError> {
    let path = Path::new(since);
    if path.is_dir() || is_bundle(path) {
        let open = super::open(&Origin::Path(path.to_path_buf()))?;
        return Ok(open.head.catalog.packages().map(|(_, _, package)| package.sha256).collect());
    }
    if path.is_file() {
        return read_list(path, ListKind::Have);
    }
    // A name with a separator would leave the folder.
    let is_name = since.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let remembered = context.home.created_bundles_path().join(format!("{since}.have"));
    if is_name && remembered.is_file() {
        read_list(&remembered, ListKind::Have)
    } else {
        Err(CreateError::Since(since.to_owned()))
    }
}

/// Remembers what a bundle listed, for a later one that is made since this one. Without that it still works by the file.
fn remember<'a>(context: &Context, id: &str, packages: impl Iterator<Item = &'a Sha256Digest>) {
    let folder = context.home.created_bundles_path();
    let list =
        DigestList { kind: ListKind::Have, generation: Some(id.to_owned()), digests: packages.copied().collect() };
    let written = disk::create_dirs(&folder)
        .and_then(|()| disk::write_atomic(&folder.join(format!("{id}.have")), list.to_text().as_bytes(), 0o644));
    if let Err(error) = written {
        context.reporter.remark(&format!("`--since {id}` will not be known here: {error}"));
    }
    // The names begin with the time.
    let Ok(entries) = std::fs::read_dir(&folder) else { return };
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "have"));
    names.sort();
    for old in names.iter().rev().skip(REMEMBERED) {
        drop(std::fs::remove_file(old));
    }
}

/// Returns the names of the files: that of `out`, or one in it if it is a folder; several are numbered.
fn paths(out: &Path, id: &str, parts: usize) -> Vec<PathBuf> {
    let is_folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/');
    let file = if is_folder { out.join(format!("plugport-{id}.tar")) } else { out.to_path_buf() };
    if parts == 1 {
        return vec![file];
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = name.strip_suffix(".tar").unwrap_or(&name);
    let digits = parts.to_string().len();
    (1..=parts).map(|part| file.with_file_name(format!("{stem}-{part:0digits$}of{parts}.tar"))).collect()
}

fn write_parts(
    archive: &Archive,
    parts: &[ArchivePart],
    paths: &[PathBuf],
    mut contents: StoreContents<'_>,
) -> Result<u64, CreateError> {
    let reporter = contents.context.reporter.clone();
    let (mut written, mut bytes) = (Vec::new(), 0);
    let total = parts.iter().flatten().map(|(_, size)| size).sum();
    reporter.begin("writing the bundle", Some(total), Unit::Bytes);
    for (part, path) in parts.iter().zip(paths) {
        let failed = |source| CreateError::Write { path: path.clone(), source };
        disk::create_dirs(disk::folder_of(path)).map_err(failed)?;
        let file = disk::begin_file(path).map_err(failed)?;
        let made = archive.write(BufWriter::with_capacity(256 << 10, file), part, &mut contents);
        let made = made.and_then(|writer| writer.into_inner().map_err(io::IntoInnerError::into_error));
        let made = made.map_err(|source| match contents.fault.take() {
            Some(fault) => CreateError::Stored(fault),
            None => CreateError::Write { path: path.clone(), source },
        })?;
        bytes += made.as_file().metadata().map_err(failed)?.len();
        disk::complete(&made, 0o644).map_err(failed)?;
        written.push((made, path));
        reporter.advance(part.iter().map(|(_, size)| size).sum());
    }
    reporter.end();
    for (file, path) in written {
        let failed = |source| CreateError::Write { path: path.clone(), source };
        file.persist(path).map_err(|error| failed(error.error))?;
        disk::sync_dir(disk::folder_of(path)).map_err(failed)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_after_the_generation_and_numbered() {
        assert_eq!(paths(Path::new("/x/a.tar"), "G", 1), [PathBuf::from("/x/a.tar")]);
        assert_eq!(paths(Path::new("/x/"), "G", 1), [PathBuf::from("/x/plugport-G.tar")]);
        assert_eq!(paths(Path::new("a.tar"), "G", 2), [PathBuf::from("a-1of2.tar"), PathBuf::from("a-2of2.tar")]);
        assert_eq!(paths(Path::new("a"), "G", 10)[0], PathBuf::from("a-01of10.tar"));
    }
}
