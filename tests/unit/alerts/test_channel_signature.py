"""Signatures of webhooks: what the standard's own example says, two secrets at once, and what a receiver refuses."""

import pytest

from actors.alerts.channels.signature import TOLERANCE_S, new_secret, signed_headers, verify
from perenne.errors import InvalidRequest

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="  # of the libraries' own tests


def test_the_example_of_the_standard_comes_out() -> None:
    headers = signed_headers((SECRET,), ID, AT, BODY)
    assert headers == {"webhook-id": ID, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}


def test_while_secrets_rotate_whoever_has_either_finds_a_signature() -> None:
    new, old = new_secret(), new_secret()
    headers = signed_headers((new, old), ID, AT, BODY)
    assert len(headers["webhook-signature"].split()) == 2
    assert verify(new, headers, BODY, AT)
    assert verify(old, headers, BODY, AT)
    assert not verify(new_secret(), headers, BODY, AT)


def test_a_receiver_refuses_what_was_changed_or_is_old() -> None:
    headers = signed_headers((SECRET,), ID, AT, BODY)
    assert verify(SECRET, headers, BODY, AT + TOLERANCE_S)
    assert not verify(SECRET, headers, BODY, AT + TOLERANCE_S + 1)
    assert not verify(SECRET, headers, BODY + b" ", AT)
    assert not verify(SECRET, headers | {"webhook-id": "msg_other"}, BODY, AT)
    assert not verify(SECRET, headers | {"webhook-timestamp": str(AT + 1)}, BODY, AT)
    assert not verify(SECRET, headers | {"webhook-timestamp": "now"}, BODY, AT)
    assert not verify(SECRET, {}, BODY, AT)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64!", SECRET.removeprefix("whsec_")])
def test_what_is_no_secret_is_said_without_repeating_it(secret: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        signed_headers((secret,), ID, AT, BODY)
    assert not secret or secret not in str(caught.value).replace("whsec_ and", "")


def test_without_a_secret_nothing_is_sent() -> None:
    with pytest.raises(InvalidRequest, match="needs a secret"):
        signed_headers((), ID, AT, BODY)
