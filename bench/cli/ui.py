"""`bench ui`: MLflow's pages on the embedded store, and links to the leaderboards in them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from bench.cli.options import StoreOption, UriOption
from bench.cli.shared import DEFAULT_PORT, DEFAULT_STORE, KIND_ADVICE, VIEW_TITLES, find, open_store, say, ui_address

if TYPE_CHECKING:
    from bench.store import Store

LOCAL = "127.0.0.1"


def add_ui_command(app: typer.Typer) -> None:
    """The command `ui`."""
    app.command()(ui)


def ui(
    suite: Annotated[
        str | None, typer.Argument(help="link to the leaderboard of this suite, or of imports; else to all of them")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535)] = DEFAULT_PORT,
    host: Annotated[str, typer.Option("--host", help="address to listen on; else of this machine alone")] = LOCAL,
    login: Annotated[bool, typer.Option("--login", help="ask for a password, of MLflow's accounts")] = False,
    store: StoreOption = DEFAULT_STORE,
    tracking_uri: UriOption = None,
) -> None:
    """Serve MLflow on the embedded store and print links: leaderboards, trials as charts and tables, suites' pages."""
    from analysis.text import counted
    from bench.store import VIEWS, follow_artifacts, suite_link, suite_names, view_link

    opened = open_store(store, tracking_uri)
    names = [find(suite, opened, allow_code=True).name] if suite else suite_names(opened)
    base = ui_address(opened, port)
    for name in names:
        for view in VIEWS:
            print(f"{name}, {VIEW_TITLES[view]}: {view_link(opened, name, base, view)}", flush=True)
        print(f"{name}, page: {suite_link(opened, name, base)}", flush=True)
    say(KIND_ADVICE)
    if not opened.is_remote and (moved := follow_artifacts(opened)):
        say(f"the store was moved: MLflow's places of artifacts of {counted(moved, 'suite')} follow it")
    if not opened.is_remote:
        _serve(opened, port, host, has_login=login)


def _serve(store: Store, port: int, host: str, *, has_login: bool) -> NoReturn:
    """Turns this process into MLflow's server; says before who would get in."""
    from bench.addresses import is_loopback
    from bench.store import LOGIN_USER, login_of, ui_command

    login = login_of(store) if has_login else None
    command, environment = ui_command(store, port, host=host, login=login)
    if not is_loopback(host):
        words = "whoever reaches this machine can read, change and remove results; --login asks for a password"
        if login is not None:
            words = "passwords and results travel in the clear; put a proxy with TLS before it"
        say(f"warning: listening on {host}, beyond this machine: {words}")
    if login is not None and login.new_password is not None:
        say(f"log in as {LOGIN_USER!r} with the password {login.new_password}, which is not shown again")
    say("serving until Ctrl-C")
    os.umask(0o077)  # the server writes into the store
    os.execve(command[0], command, environment)
