"""A file's password, asked for or read: never an argument, which other users of the PC and the shell's history would see."""

import sys
from typing import Annotated

import typer

from perenne.errors import InvalidRequest

AskPassword = Annotated[bool, typer.Option("--password", help="Ask for the password of protected files.")]
PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read their password from standard input.")]


def password_of(ask: bool, from_stdin: bool) -> str | None:
    """What was asked for or came in; None when neither is wanted. InvalidRequest when nothing came."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise InvalidRequest("expected a password on standard input, got nothing", "password")
        return password
    return str(typer.prompt("Password of the files", hide_input=True, err=True)) if ask else None
