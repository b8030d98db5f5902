"""Weights as one file; see `tfrec_llm.variables_file`."""

from tfrec_llm.variables_file import read_state, restore_variables, save_variables

__all__ = ["read_state", "restore_variables", "save_variables"]
