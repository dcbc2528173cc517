"""The application: one experiment from a configuration to a lift report."""

from policies.names import register

__version__ = "0.1.0"

register(
    lsvcr="lsvcr.policy:LSVCR",
    oracle="abtest.run.oracle:Oracle",
    oracle_video="abtest.run.oracle:OracleVideo",
    oracle_comments="abtest.run.oracle:OracleComments",
)
