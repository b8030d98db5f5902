"""Language models of one's own: vocabulary and masked language modelling on a corpus."""
