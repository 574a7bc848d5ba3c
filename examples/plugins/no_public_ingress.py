"""Stops plans that let the whole internet in."""

from poolform import Review, hookimpl

EVERYWHERE = {"0.0.0.0/0", "::/0", "*", "Internet"}


@hookimpl
def poolform_review_plan(pool, plan):
    for change in plan.changes:
        if change.action != "destroy" and EVERYWHERE & set(sources(change.type, change.after or {})):
            yield Review("error", "it would let the whole internet in", change.address)


def sources(type_, after):
    """Yield the addresses from which a resource lets traffic in."""
    if type_ == "aws_security_group":
        for rule in after.get("ingress") or ():
            yield from (*(rule.get("cidr_blocks") or ()), *(rule.get("ipv6_cidr_blocks") or ()))
    elif type_ == "aws_vpc_security_group_ingress_rule":
        yield from (after.get("cidr_ipv4"), after.get("cidr_ipv6"))
    elif type_ == "aws_security_group_rule" and after.get("type") == "ingress":
        yield from (*(after.get("cidr_blocks") or ()), *(after.get("ipv6_cidr_blocks") or ()))
    elif type_ == "google_compute_firewall" and after.get("direction") != "EGRESS" and after.get("allow"):
        # A rule that names no source is for all of them: https://cloud.google.com/firewall/docs/firewalls#sources
        named = ("source_ranges", "source_tags", "source_service_accounts")
        yield from after.get("source_ranges") or (() if any(map(after.get, named)) else ("0.0.0.0/0",))
    elif type_ == "azurerm_network_security_rule" and (after.get("direction"), after.get("access")) == (
        "Inbound",
        "Allow",
    ):
        yield from (after.get("source_address_prefix"), *(after.get("source_address_prefixes") or ()))
