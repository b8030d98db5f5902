"""TFX components of this package; each module holds one."""
