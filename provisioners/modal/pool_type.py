"""The pool type `modal:push`: nothing to make, a token to keep."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, ClassVar

from poolform.core.errors import PoolformError
from poolform.core.pools.contract import Connection, Credential, Finding, Identity, PoolType
from poolform.core.runs.launchers import Unavailable
from poolform.provisioners.modal import tokens
from poolform.provisioners.modal.launcher import ModalLauncher
from poolform.provisioners.modal.variables import ModalJobVariables, ModalOutputs, ModalVariables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ModalPush(PoolType):
    """Sandboxes of a Modal workspace; jobs need no route back."""

    slug = "modal:push"
    title = "Modal, push"
    description = "Sandboxes on Modal, launched from anywhere; jobs need no route back."
    variables = ModalVariables
    outputs = ModalOutputs
    job_variables = ModalJobVariables
    extra = "poolform[modal]"
    templates = files("poolform.templates") / "modal"
    nouns: ClassVar[Mapping[str, str]] = {"terraform_data": "a Modal pool, whose app is {input[app]}"}

    def identity(self, variables: ModalVariables) -> Identity:
        """Return which workspace the token here is of."""
        token = tokens.found()
        with tokens.sentences("Asking Modal who the token belongs to"):
            modal = tokens.load()
            client = modal.Client.from_credentials(token.id, token.secret)
            try:
                workspace = modal.Workspace.from_context(client=client)
                workspace.hydrate()
                return Identity(f"the token {token.id}", workspace.name)
            finally:
                client.close()

    def connect(self, variables: ModalVariables, outputs: ModalOutputs) -> Connection:
        """Say where jobs run."""
        return Connection(
            settings={
                "app": outputs.app,
                "environment": variables.environment,
                "credentials": variables.credentials,
            }
        )

    def launcher(self, connection: Connection, credential: Credential | None) -> ModalLauncher:
        """Return a launcher with the pool's token."""
        settings = connection.settings
        if settings["credentials"] == "token" and credential is None:
            raise PoolformError(
                "The pool's credentials block is gone, and its launcher has no other token.",
                hint="Make it anew: poolform work-pool provision-infra POOL",
            )
        return ModalLauncher(lambda: tokens.of(credential), settings["app"], settings["environment"])

    def wants_key(self, variables: ModalVariables) -> bool:
        """Say whether the token is to be kept in a block."""
        return variables.credentials == "token"

    def issued(self, variables: ModalVariables, connection: Connection) -> Sequence[str]:
        """Return the id of the token here. A pool whose block holds another one takes this one over."""
        try:
            return [tokens.found().id]
        except PoolformError:
            return []

    def mint(self, variables: ModalVariables, connection: Connection) -> Credential:
        """Return the token here, to be kept: Modal's are made by people, at modal.com or with `modal setup`."""
        token = tokens.found()
        data = {"token_id": token.id, "token_secret": token.secret}
        return Credential(tokens.ModalCredentials.block_type, data, token.id)

    def revoke(self, variables: ModalVariables, connection: Connection, key_id: str) -> None:
        """Leave the token as it is: it is the person's own, and may be used elsewhere."""

    def authenticate(self, connection: Connection, credential: Credential | None) -> Finding:
        """Reach the pool's app with its token."""
        settings = connection.settings
        launcher = ModalLauncher(lambda: tokens.of(credential), settings["app"], settings["environment"])
        try:
            launcher.find("nobody.0")
        except (Unavailable, PoolformError) as exc:
            return Finding("token", "missing", str(exc), "Log in (modal setup), and provision the pool again.")
        finally:
            launcher.close()
        return Finding("token", "allowed", f"Modal takes the token for the app {settings['app']}.")

    def disconnect(self, connection: Connection, credential: Credential | None) -> None:
        """Terminate the pool's Sandboxes and stop its app."""
        settings = connection.settings
        launcher = ModalLauncher(lambda: tokens.of(credential), settings["app"], settings["environment"])
        try:
            launcher.remove_all()
        except Unavailable as exc:
            raise PoolformError(f"The pool's Sandboxes cannot be terminated: {exc}.", hint="Try again later.") from exc
        finally:
            launcher.close()
