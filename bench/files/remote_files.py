"""Where the files of a data set come from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RemoteFile:
    """A file of a data set that can be downloaded; zip and tar archives are unpacked."""

    url: str
    size_bytes: int  # as published, perhaps rounded
    checksum: str = ""  # "sha256:HEX" or "md5:HEX"; "" if none is published
    inside: str = ""  # the folder of the archive that is taken; "" for all
    folder: str = ""  # where it goes, below the folder of the data set


@dataclass(frozen=True)
class Download:
    """A data set that `prunebench data get` downloads, or whose source it names."""

    name: str  # also of the folder that it is put into
    content: str
    terms: str  # its licence, or what its authors allow
    source: str  # the page that it comes from
    files: tuple[RemoteFile, ...] = ()  # none: it is to be downloaded by hand
