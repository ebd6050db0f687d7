// SPDX-License-Identifier: GPL-2.0

//! Files that a command reads and writes.
//!
//! A command that works for minutes calls [`Output::open`] before it begins, so that a file that cannot be
//! written is an error at once. [`Output::write`] writes to a temporary file in the same directory and
//! renames it, so that the destination has either the former content or the whole new content. Between the
//! two calls there is no temporary file that Ctrl-C could leave behind.

use std::{
    fmt,
    fs::{
        self,
        File,
        Permissions, //
    },
    io::{
        self,
        Read as _,
        Write as _, //
    },
    os::unix::fs::PermissionsExt as _,
    path::{
        Path,
        PathBuf, //
    },
};

/// The permissions of a new file, before the process's umask.
const MODE: u32 = 0o666;

/// The kind of content of a file. A file of another kind is never overwritten.
#[derive(Clone, Copy, Debug)]
pub struct FileKind {
    /// The noun with its article, such as "a trace".
    pub name: &'static str,
    /// Returns whether the complete content of a file is of this kind.
    pub is: fn(&[u8]) -> bool,
}

/// A file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct FileError {
    path: PathBuf,
    why: FileErrorKind,
}

/// The reason why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
enum FileErrorKind {
    #[error("there is no such file")]
    NoFile,
    #[error("there is no folder {}", .0.display())]
    NoFolder(PathBuf),
    #[error("this is a folder, but a file is needed")]
    Folder,
    #[error("this file is larger than {} GiB", READ_MAX >> 30)]
    TooLong,
    #[error("this is a symbolic link to a file that does not exist")]
    DanglingLink,
    #[error("this user has no permission to {0} it")]
    Denied(Access),
    #[error("this user has no permission to create a file in the folder {}", .0.display())]
    FolderDenied(PathBuf),
    #[error("this file is not {0} and would be lost: name another file, or remove this one")]
    Foreign(&'static str),
    #[error("{}", words(.0))]
    Io(io::Error),
}

/// Returns the operating system's words for an error, without the number that Rust adds.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// An access to a file.
#[derive(Clone, Copy, Debug)]
enum Access {
    Read,
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

impl FileErrorKind {
    /// Returns the reason for an error of the operating system.
    fn of(error: io::Error, access: Access) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoFile,
            io::ErrorKind::IsADirectory => Self::Folder,
            io::ErrorKind::PermissionDenied => Self::Denied(access),
            _ => Self::Io(error),
        }
    }

    fn at(self, path: &Path) -> FileError {
        FileError {
            path: path.to_owned(),
            why: self,
        }
    }
}

/// The maximum number of bytes that are read from a file. A device such as `/dev/zero` has no end.
const READ_MAX: u64 = 1 << 30;

/// Reads a file.
///
/// # Errors
///
/// Returns a sentence that names the file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = || {
        let mut bytes = Vec::new();
        let file = File::open(path)?;
        file.take(READ_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) if bytes.len() as u64 > READ_MAX => Err(FileErrorKind::TooLong.at(path)),
        Ok(bytes) => Ok(bytes),
        Err(error) => Err(FileErrorKind::of(error, Access::Read).at(path)),
    }
}

/// A file that can be written and was not written yet.
#[derive(Debug)]
pub struct Output {
    /// The name that the user gave.
    path: PathBuf,
    destination: OutputDestination,
}

/// The destination of an output.
#[derive(Debug)]
enum OutputDestination {
    /// A regular file that exists, with its permissions, or a new one.
    File {
        /// The path without symbolic links, so that the rename replaces the file and not the link.
        real: PathBuf,
        permissions: Option<Permissions>,
    },
    /// A device or a pipe, which cannot be replaced.
    Stream(File),
}

impl Output {
    /// Checks that a file can be written, and changes nothing.
    ///
    /// # Errors
    ///
    /// Returns a sentence that names the file, for example when the file exists, is not empty and is of
    /// another kind.
    pub fn open(path: &Path, kind: FileKind) -> Result<Self, FileError> {
        let destination = destination(path, kind).map_err(|error| error.at(path))?;
        Ok(Self {
            path: path.to_owned(),
            destination,
        })
    }

    /// Returns the name that the user gave.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    ///
    /// Returns a sentence that names the file. The file is then unchanged.
    pub fn write(self, bytes: &[u8]) -> Result<(), FileError> {
        let written = match self.destination {
            OutputDestination::Stream(mut file) => file.write_all(bytes),
            OutputDestination::File { real, permissions } => replace(&real, permissions, bytes),
        };
        written.map_err(|error| FileErrorKind::of(error, Access::Write).at(&self.path))
    }
}

/// Finds the destination of an output, and checks that it can be written.
fn destination(path: &Path, kind: FileKind) -> Result<OutputDestination, FileErrorKind> {
    let write = |error| FileErrorKind::of(error, Access::Write);
    // The path is not resolved: the link /dev/stdout may point to a pipe, which has no path.
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let file = File::options().write(true).open(path).map_err(write)?;
        return Ok(OutputDestination::Stream(file));
    }
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_file(path)?,
        Err(error) => return Err(write(error)),
    };
    let permissions = match fs::metadata(&real) {
        Ok(metadata) if metadata.is_dir() => return Err(FileErrorKind::Folder),
        Ok(metadata) => {
            // A rename needs no write permission for the file, so the permission is checked here.
            File::options().write(true).open(&real).map_err(write)?;
            let bytes = fs::read(&real).map_err(|error| FileErrorKind::of(error, Access::Read))?;
            if !bytes.is_empty() && !(kind.is)(&bytes) {
                return Err(FileErrorKind::Foreign(kind.name));
            }
            Some(metadata.permissions())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(write(error)),
    };
    let folder = folder_of(&real);
    // An unnamed temporary file is removed by the kernel, also when a signal ends the process.
    tempfile::tempfile_in(folder).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => FileErrorKind::FolderDenied(folder.to_owned()),
        _ => FileErrorKind::Io(error),
    })?;
    Ok(OutputDestination::File { real, permissions })
}

/// Returns the full name of a file that does not exist.
fn new_file(path: &Path) -> Result<PathBuf, FileErrorKind> {
    if fs::symlink_metadata(path).is_ok() {
        return Err(FileErrorKind::DanglingLink);
    }
    let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let (Some(name), false) = (path.file_name(), is_folder) else {
        return Err(FileErrorKind::NoFolder(path.to_owned()));
    };
    let folder = folder_of(path);
    match fs::canonicalize(folder) {
        Ok(real) if real.is_dir() => Ok(real.join(name)),
        Ok(_) => Err(FileErrorKind::NoFolder(folder.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(FileErrorKind::NoFolder(folder.to_owned()))
        }
        Err(error) => Err(FileErrorKind::of(error, Access::Write)),
    }
}

/// Returns the folder that a file is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Writes a temporary file in the same directory, and renames it to `path`.
fn replace(path: &Path, permissions: Option<Permissions>, bytes: &[u8]) -> io::Result<()> {
    let mut file = tempfile::Builder::new()
        .prefix(".slablab-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(folder_of(path))?;
    file.write_all(bytes)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// Files that begin with the word "ours".
    const OURS: FileKind = FileKind {
        name: "one of ours",
        is: |bytes| bytes.starts_with(b"ours"),
    };

    /// Returns the reason why a file cannot be opened for writing.
    fn refused(path: &Path) -> String {
        Output::open(path, OURS).unwrap_err().why.to_string()
    }

    /// Returns the names of all files in a folder.
    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_created_before_the_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let output = Output::open(&path, OURS).unwrap();
        assert!(names(folder.path()).is_empty());
        output.write(b"ours 1").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ours 1");
        assert_eq!(names(folder.path()), ["new"]);
    }

    #[test]
    fn replacing_a_file_preserves_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "ours 1").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let output = Output::open(&path, OURS).unwrap();
        assert_eq!(
            fs::read(&path).unwrap(),
            b"ours 1",
            "Output::open must not change the file"
        );
        output.write(b"ours 2").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"ours 2");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
    }

    #[test]
    fn an_empty_file_is_overwritten_and_a_file_of_another_kind_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        Output::open(&path, OURS).unwrap();
        fs::write(&path, "theirs").unwrap();
        let message = Output::open(&path, OURS).unwrap_err().to_string();
        assert!(message.starts_with(path.to_str().unwrap()), "{message}");
        assert!(
            message.contains("is not one of ours and would be lost"),
            "{message}"
        );
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
    }

    #[test]
    fn each_error_has_a_message_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert_eq!(
            refused(folder.path()),
            "this is a folder, but a file is needed"
        );
        let missing = refused(&at("none/file"));
        assert!(missing.starts_with("there is no folder /"), "{missing}");
        let missing = refused(&at("none/"));
        assert!(missing.starts_with("there is no folder /"), "{missing}");
        fs::write(at("file"), "").unwrap();
        assert_eq!(refused(&at("file/file")), "Not a directory");
        symlink(at("none"), at("dangling")).unwrap();
        assert!(refused(&at("dangling")).contains("does not exist"));
        let message = read(&at("none")).unwrap_err().to_string();
        assert!(
            message.ends_with("none: there is no such file"),
            "{message}"
        );
    }

    #[test]
    fn writing_through_a_link_replaces_its_target() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "ours 1").unwrap();
        symlink(&file, &link).unwrap();
        let output = Output::open(&link, OURS).unwrap();
        output.write(b"ours 2").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"ours 2");
    }

    #[test]
    fn a_device_is_written_in_place() {
        let output = Output::open(Path::new("/dev/null"), OURS).unwrap();
        output.write(b"ours").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
