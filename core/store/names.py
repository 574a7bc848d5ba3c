"""Ids and names that nobody chose."""

from __future__ import annotations

import secrets
import uuid

_ADJECTIVES = (  # noqa: SIM905 - words are read best as words
    "able agile amber ample azure bold brave breezy bright brisk calm candid careful clever cosy crisp curious "
    "daring eager early earnest fair fearless fleet fluent fond frank gentle glad golden graceful happy hardy "
    "honest humble jolly keen kind lively loyal lucid lucky mellow merry mighty mild nimble noble patient placid "
    "plucky polite proud quick quiet rapid ready robust royal serene sharp silver sincere smart snug solid spry "
    "steady sturdy sunny swift tidy tireless tranquil upbeat valiant vivid warm wise witty zesty"
).split()

_ANIMALS = (  # noqa: SIM905 - words are read best as words
    "albatross alpaca antelope badger beaver bison bobcat buzzard camel caribou cheetah chinchilla condor cougar "
    "coyote crane cricket dolphin dormouse eagle egret elk falcon ferret finch fox gazelle gecko gibbon goose "
    "grouse hare hawk hedgehog heron hornet ibex ibis iguana impala jackal jaguar kestrel kingfisher kiwi koala "
    "lemur leopard linnet llama lynx magpie marmot marten mongoose moose narwhal newt ocelot orca oriole osprey "
    "otter owl panda panther pelican penguin petrel plover puffin puma quail rabbit raven robin salmon seal shrew "
    "sparrow starling stoat stork swallow swan swift tapir tern thrush toucan trout turtle viper vole walrus "
    "weasel whale wolf wombat wren yak zebra"
).split()


def new_id() -> str:
    """Return a new id: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def new_pool_id() -> str:
    """Return a pool's id: 8 characters of 0-9 and a-f, the first a letter, as it ends the names of cloud resources."""
    return secrets.choice("abcdef") + secrets.token_hex(4)[:7]


def run_name() -> str:
    """Return a name to tell runs apart in conversation, such as `swift-otter`; not unique."""
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_ANIMALS)}"
