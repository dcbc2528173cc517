from abtest.api import analyze as analyze
from abtest.api import evaluate as evaluate
from abtest.api import replay as replay
from abtest.api import run as run
from abtest.version import __version__ as __version__
from policies.base import Policy as Policy
