"""What a training takes before anything runs: memory, time and money from shapes alone. No torch, no weights.

    catalogue   models known by name, with the numbers of their config files
    shapes      config.json or safetensors headers → Shape → parameter counts
    policy      what each layer keeps for its backward pass (the one type for it)
    engine      what an engine keeps and stores: ours, and others' whose measurements check the formulas
    memory      one function per term, and the peak
    flops, time, hardware, calibration    work per step → seconds
    cost        seconds → money and sessions
    fit         what fits where, what to change where it does not, and the best for a given card

Everything takes plain values; recipes become a `Job` in `luthier.workflows.plan`.
"""
