"""Every error that tfrec_llm raises on purpose.

TfrecLlmError                  exit code 1
├── InputError                 exit code 2: the caller can mend it
│   ├── ConfigError            a configuration file or `--set` is wrong
│   ├── DataError              a table is missing, empty or unusable
│   ├── EncoderError           a language model cannot be found or does not fit
│   ├── RequestError           a request to a server is wrong, or the server refuses it
│   └── UsageError             an argument is wrong: k = 0, an unknown item, a folder in use
├── ImportOrderError           TensorFlow or Keras was imported too early, the wrong way
├── CorruptFileError           a file that we wrote no longer holds what we wrote
├── CheckpointError            a checkpoint belongs to another configuration
├── DivergedError              the loss of a training is no longer a number
├── WorkerError                a worker of a training on several machines is gone, or differs
├── ExportError                an export could not be written, or answers differently
├── UnavailableError           a server cannot be reached, or has no answer in time
└── MissingPackageError        an optional package is needed and not installed
"""

from __future__ import annotations


class TfrecLlmError(Exception):
    """Base of all errors of this package; its text is one paragraph for a person."""

    exit_code = 1


class InputError(TfrecLlmError):
    """The input or the usage is wrong, and the caller can mend it."""

    exit_code = 2


class ConfigError(InputError):
    """A configuration is wrong; the message holds all its faults."""


class DataError(InputError):
    """A table is missing, empty or unusable."""


class EncoderError(InputError):
    """A language model cannot be found, is not what was asked for, or does not fit."""


class RequestError(InputError):
    """A request to a server is wrong, or the server refuses it.

    Attributes:
        code: str, name of the gRPC status, such as `INVALID_ARGUMENT` or `NOT_FOUND`.
    """

    def __init__(self, message: str, code: str = "INVALID_ARGUMENT") -> None:
        super().__init__(message)
        self.code = code


class UsageError(InputError):
    """An argument of a call or a command is wrong."""


class ImportOrderError(TfrecLlmError):
    """TensorFlow or Keras was imported before this package in a way that it cannot undo."""


class CorruptFileError(TfrecLlmError):
    """A file written by this package was changed or cut since."""


class CheckpointError(TfrecLlmError):
    """A checkpoint does not belong to the run that wants to resume from it."""


class DivergedError(TfrecLlmError):
    """The loss of a training is no longer a number."""


class WorkerError(TfrecLlmError):
    """A worker of a training on several machines is gone, or has other data than the others."""


class ExportError(TfrecLlmError):
    """An export could not be written, or does not answer as the model does."""


class UnavailableError(TfrecLlmError):
    """A server cannot be reached, is overloaded, or has no answer in time."""


class MissingPackageError(TfrecLlmError):
    """An optional package is needed for what was asked."""

    def __init__(self, package: str, purpose: str, extra: str) -> None:
        super().__init__(
            f"{purpose} needs the package `{package}`, which is not installed. "
            f"Install it with: pip install 'tfrec_llm[{extra}]'"
        )
