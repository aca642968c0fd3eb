"""One sentence on every term that a page uses. A page shows it with ``{% term "name" %}``; the help page lists all."""

GLOSSARY = {
    "abstention": (
        "Abstention",
        "No answer, on purpose: the results are too weak, too contradictory, or too unlike what the models know.",
    ),
    "amendment": (
        "Amendment",
        "A new version of a signed report, with its reason; the signed one stays as it was.",
    ),
    "apl": (
        "APL not excluded",
        "Acute promyelocytic leukaemia is still possible: it kills by bleeding within days and is treatable at once.",
    ),
    "assessment": (
        "Assessment",
        "What the models say together: the most specific diagnosis that the results support, or an abstention.",
    ),
    "bundle": (
        "Model bundle",
        "One version of one model with its weights, labels, calibration, figures and limits, known by its hash.",
    ),
    "calibration": (
        "Calibration",
        "Whether a probability comes true as often as it says: of cases given 80 %, eight in ten are right.",
    ),
    "coverage": (
        "Coverage",
        "In how many of such cases the prediction set holds the diagnosis; it was set on cases held out from training.",
    ),
    "discordance": (
        "Discordance",
        "Two kinds of result contradict each other; think first of mixed-up samples and of mixed lineage.",
    ),
    "evidence": (
        "Evidence",
        "How much one kind of result raises or lowers the odds of a diagnosis, after what it could see at all.",
    ),
    "finding": (
        "Finding",
        "What one kind of result (smear, expression, labs) says by itself, before all are put together.",
    ),
    "grad_cam": (
        "Grad-CAM",
        "Where in an image the network looked for its answer; it shows the place, not the reason.",
    ),
    "haematogones": (
        "Haematogones",
        "Normal B-cell precursors that look like blasts; frequent in children, after infection and after treatment.",
    ),
    "in_scope": (
        "In scope",
        "How much an input resembles what the model was trained on; an unlike one counts less, down to nothing.",
    ),
    "next_test": (
        "Next best test",
        "The missing kind of result that is expected to settle most, by the models' own measured confusions.",
    ),
    "odds": (
        "Odds",
        "Probability divided by its rest: 80 % is four to one; evidence multiplies odds.",
    ),
    "prediction_set": (
        "Prediction set",
        "The diagnoses that these results leave possible; in a short set much is settled, in a long one little.",
    ),
    "quality": (
        "Quality warning",
        "What the reader of a file noticed (blur, stain, few cells, missing genes); trust such a result less.",
    ),
    "shadow": (
        "Shadow model",
        "A model that runs beside the active one and is compared with it; it never speaks in an assessment.",
    ),
    "synthetic": (
        "Synthetic",
        "Made by a program, no person: for learning, demonstration and tests.",
    ),
    "triage": (
        "Order of the worklist",
        "Urgent cases first, then discordant ones, then the longest waiting; signed ones are no longer to do.",
    ),
}
