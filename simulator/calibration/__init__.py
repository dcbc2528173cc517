"""Fit worlds to published marginals, contrasts of exposure and elasticities."""
