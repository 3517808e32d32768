"""A configuration as TOML."""

from sadstream.config.tables import Config


def to_toml(config: Config) -> str:
    """Every key in force; keys without a value are left out, which means their default."""
    import tomli_w

    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))
