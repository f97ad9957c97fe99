"""What breaks first when the shop grows, and what each way up costs: a model fed by measured times, and no measurement."""
