"""Variables made up for a pool type: what its model admits, ugly text included, starting from examples.

A value that the model refuses for reasons that its JSON Schema does not show (a validator, two fields that must agree)
gives way to the example's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hypothesis import assume
from hypothesis import strategies as st
from pydantic import ValidationError

from poolform.core.errors import in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

    from poolform.core.pools.contract import Variables
    from poolform.core.runs.launchers import Json

Values = Mapping[str, Any]

# What would run, break or end a string if it ever were written into HCL.
_UGLY = ('${file("/etc/hostname")}', "%{ if true }", '"', "\\", "a\nb", "# not a comment", "ünï\N{SNOWMAN}", "{{ x }}")
_ENDLESS = 4  # items of a list, keys of a map, where the schema has no bound


@st.composite
def variables(
    draw: DrawFn,
    model: type[Variables],
    examples: Sequence[Values] = ({},),
    strategies: Mapping[str, SearchStrategy[Any]] | None = None,
) -> Variables:
    """Draw valid variables; `strategies` replaces what the schema says, by variable."""
    base = dict(draw(st.sampled_from(list(examples))))
    values = dict(base)
    for name, strategy in by_variable(model, strategies).items():
        required = model.model_fields[name].is_required() and name not in base
        if required or draw(st.booleans()):
            values[name] = draw(strategy)
    return _settled(model, values, base)


def by_variable(
    model: type[Variables], strategies: Mapping[str, SearchStrategy[Any]] | None = None
) -> dict[str, SearchStrategy[Any]]:
    """Return how to make up a value, by variable."""
    schema = model.model_json_schema()
    definitions = schema.get("$defs", {})
    made_up = {name: from_schema(field, definitions) for name, field in schema.get("properties", {}).items()}
    return {**made_up, **(strategies or {})}


def _settled(model: type[Variables], values: dict[str, Any], base: Values) -> Variables:
    for _ in range(len(values) + 1):
        try:
            return model.model_validate(values)
        except ValidationError as exc:
            # A problem of several fields together names none of them: all that was made up gives way.
            refused = {str(error["loc"][0]) for error in exc.errors() if error["loc"]} or values.keys() - base.keys()
            for name in refused:
                values.pop(name, None)
                if name in base:
                    values[name] = base[name]
        except Exception as exc:
            told = f"the model fails over {values!r}; a validator refuses a value by raising ValueError"
            raise AssertionError(told) from exc
    assume(condition=False)
    raise AssertionError  # assume does not return


def from_schema(schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> SearchStrategy[Any]:
    """Return values that a JSON Schema admits, as far as pydantic writes it."""
    if "$ref" in schema:
        return st.deferred(lambda: from_schema(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return st.one_of(*(from_schema(option, definitions) for option in options))
    match schema.get("type"):
        case "string":
            return _text(schema)
        case "integer":
            return st.integers(_bound(schema, "minimum", 1), _bound(schema, "maximum", -1))
        case "number":
            return st.floats(
                _bound(schema, "minimum", 0), _bound(schema, "maximum", 0), allow_nan=False, allow_infinity=False
            )
        case "boolean":
            return st.booleans()
        case "array":
            return _list(schema, definitions)
        case "object":
            return _object(schema, definitions)
    return st.none()


def _bound(schema: Mapping[str, Json], name: str, step: int) -> Json:
    exclusive = schema.get(f"exclusive{name.capitalize()}")
    return schema.get(name) if exclusive is None else exclusive + step


def _text(schema: Mapping[str, Json]) -> SearchStrategy[str]:
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 200)
    if "pattern" in schema:
        pattern: str = schema["pattern"]
        return st.from_regex(pattern).filter(lambda text: shortest <= len(text) <= longest)
    ugly = st.sampled_from(_UGLY).map(lambda text: f"{text}{'x' * (shortest - len(text))}"[:longest])
    characters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))
    return ugly | st.text(characters, min_size=shortest, max_size=min(longest, shortest + 40))


def _list(schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> SearchStrategy[Any]:
    if "prefixItems" in schema:
        return st.tuples(*(from_schema(item, definitions) for item in schema["prefixItems"])).map(list)
    shortest = schema.get("minItems", 0)
    unique = schema.get("uniqueItems", False)
    items = from_schema(schema.get("items", {}), definitions)
    longest = schema.get("maxItems", shortest + _ENDLESS)
    return st.lists(items, min_size=shortest, max_size=longest, unique_by=repr if unique else None)


def _object(schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> SearchStrategy[Any]:
    if "properties" in schema:
        fields = {name: from_schema(field, definitions) for name, field in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema.get("required", ()) if name in fields}
        return st.fixed_dictionaries(required, optional=fields)
    items = from_schema(schema.get("additionalProperties") or {}, definitions)
    return st.dictionaries(
        st.text(st.characters(codec="ascii", categories=("Ll", "Lu", "Nd")), min_size=1), items, max_size=_ENDLESS
    )


def told(exc: ValidationError) -> str:
    """Say what does not fit a model, and where."""
    return "; ".join(f"{'.'.join(map(str, error['loc'])) or 'all'}: {in_words(error)}" for error in exc.errors())


def texts(value: Any) -> Iterator[str]:
    """Yield every piece of text in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from texts(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from texts(item)
