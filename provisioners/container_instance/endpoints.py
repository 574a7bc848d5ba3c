"""Where an Azure is: its resource manager, its directory, its logins.

ARM_METADATA_HOSTNAME, by which Terraform's providers find Azure Stack and clouds of that kind, is honoured here too, so
that both speak to the same Azure. https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs#metadata_host
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from poolform.core.errors import PoolformError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "ARM_METADATA_HOSTNAME"


@dataclass(frozen=True)
class Endpoints:
    """URLs without a trailing slash. `well_known`: logins of it can be checked with Microsoft's own list of clouds."""

    resource_manager: str
    graph: str
    authority: str
    well_known: bool = True


# https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure#guidance-for-developers
# https://learn.microsoft.com/azure/china/resources-developer-guide#check-endpoints-in-azure
_KNOWN: Mapping[str, Endpoints] = {
    "public": Endpoints(
        "https://management.azure.com", "https://graph.microsoft.com", "https://login.microsoftonline.com"
    ),
    "usgovernment": Endpoints(
        "https://management.usgovcloudapi.net", "https://graph.microsoft.us", "https://login.microsoftonline.us"
    ),
    "china": Endpoints(
        "https://management.chinacloudapi.cn",
        "https://microsoftgraph.chinacloudapi.cn",
        "https://login.chinacloudapi.cn",
    ),
}


def endpoints(environment: str) -> Endpoints:
    """Return where an Azure environment is. Raises PoolformError where ARM_METADATA_HOSTNAME does not answer."""
    host = os.environ.get(VARIABLE)
    return _asked(host) if host else _KNOWN[environment]


@cache
def _asked(host: str) -> Endpoints:
    from azure.core import PipelineClient
    from azure.core.exceptions import AzureError
    from azure.core.rest import HttpRequest

    url = f"https://{host}/metadata/endpoints?api-version=2022-09-01"
    try:
        client: Any = PipelineClient(url, policies=[])
        with client:
            response = client.send_request(HttpRequest("GET", url))
            response.raise_for_status()
            found = response.json()
        return _read(found)
    except (AzureError, KeyError, TypeError, ValueError) as exc:
        raise PoolformError(
            f"{VARIABLE} names {host}, which does not say where its Azure is: {exc}",
            hint=f"Correct {VARIABLE}, or unset it for {', '.join(_KNOWN)}.",
        ) from exc


def _read(found: Mapping[str, Any]) -> Endpoints:
    login = found["authentication"]["loginEndpoint"]
    arm, graph = found["resourceManager"], found["microsoftGraphResourceId"]
    return Endpoints(arm.rstrip("/"), graph.rstrip("/"), login.rstrip("/"), well_known=False)
