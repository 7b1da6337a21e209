"""The bytes of an ONNX file in, a network that is ready to run out; the one place that knows ONNX Runtime.

It is imported when the first network is opened, so that whoever opens none does not wait for it.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from mien.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np


PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")
"""What networks run on, the first that is there; the package onnxruntime-gpu brings the first. On a graphics
card nothing was measured."""


WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"
"""ONNX Runtime's name for where weights outside a file are looked for: the working directory, if not told."""


@runtime_checkable
class InferenceSession(Protocol):
    """A network that is ready to run: what is used of ONNX Runtime's class of that name."""

    def run(self, output_names: Sequence[str] | None, inputs: Mapping[str, np.ndarray], /) -> Any:
        """Arrays of the outputs named, of all of them if None, for arrays by the names of the inputs."""

    def get_inputs(self) -> Sequence[Any]:
        """The inputs; `name` of each."""

    def get_outputs(self) -> Sequence[Any]:
        """The outputs; `name` of each."""

    def get_modelmeta(self) -> Any:
        """What the file says of itself; `custom_metadata_map` holds texts by name."""


def open_session(content: bytes, *, n_threads: int = 1) -> InferenceSession:
    """The network of an ONNX file, on the graphics card where ONNX Runtime offers it, else on the processor.

    A file whose weights lie in other files is not opened: content alone says what a network is.

    Args:
        content: The whole file.
        n_threads: Threads that share one operator; 0 leaves their number to ONNX Runtime. Operators run one
            after the other.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = (
        4  # nothing below fatal: what fails is raised, the rest nobody here can change
    )
    options.add_session_config_entry(WEIGHTS_FOLDER, os.devnull)
    offered = onnxruntime.get_available_providers()
    providers = [each for each in PROVIDERS if each in offered]
    session: InferenceSession = onnxruntime.InferenceSession(content, options, providers=providers)
    return session


def refuse_altered(content: bytes, sha256: str, *, told: str, wanted: str = "expected", mend: str) -> None:
    """Returns if a file's content has the checksum that it should have.

    Args:
        content: The whole file.
        sha256: Its checksum as it should be, in hexadecimal.
        told: How the message begins: whose content it is, up to the verb.
        wanted: What stands before the checksum that should be there.
        mend: How the message ends, its punctuation included.

    Raises:
        CheckpointError: It is another content.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise CheckpointError(f"{told} sha256 {found[:12]}…, {wanted} {sha256[:12]}…{mend}")


@contextmanager
def refusing(told: str, mend: str) -> Iterator[None]:
    """Turns whatever ONNX Runtime raises, whose errors have no names that it promises, into one of mien's.

    Args:
        told: How the message begins: what does not work.
        mend: How it ends: what to do.

    Raises:
        CheckpointError: Something was raised. An ImportError stays what it is.
    """
    try:
        yield
    except ImportError:  # the runtime itself does not load; or a signal came while it did
        raise
    except Exception as error:
        raise CheckpointError(f"{told} ({' '.join(str(error).split())[:99]}); {mend}") from None
