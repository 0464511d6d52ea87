from __future__ import annotations

from fedchain.core.errors import ParameterError, Unavailable
from fedchain.core.ledger.content import Content, Digest


def test_a_parameter_is_named_as_whoever_speaks_names_it() -> None:
    error = ParameterError("head", "0x12", "not a head: give {mirror} or {rpc}")
    assert str(error) == "head 0x12: not a head: give mirror or rpc"
    assert error.text({"head": "--head", "rpc": "--rpc URL"}) == "--head 0x12: not a head: give mirror or --rpc URL"
    assert (error.parameter, error.value) == ("head", "0x12")


def test_a_parameter_that_is_missing_has_no_value() -> None:
    assert str(ParameterError("mirror", None, "give {mirror}")) == "give mirror"


def test_an_error_about_a_blob_names_it() -> None:
    content = Content(Digest(bytes(32)), 3)
    assert Unavailable("no peer has it", content).content == content
    assert Unavailable("no peer has it").content is None
