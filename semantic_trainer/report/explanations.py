"""What each metric means and what each figure shows, in the page's words."""

MEANINGS = {
    "knowledge_accuracy": "Share of facts whose answer is the target, word for word.",
    "generality": "The same on rephrased questions: mean within a fact, then over facts.",
    "locality": "Share of unrelated questions that are answered as by the base model.",
    "deviation": "Share of facts whose answer lies farther from the target than before training.",
    "deviation_in_bad": "The same, counted among the facts that are not answered exactly.",
    "relative_deviation": "By how much the answers that moved away did so, as a multiple of their distance before.",
    "normalized": "Answers compared without case, punctuation and articles.",
    "contains": "The target occurs somewhere in the answer; a long answer has it easier.",
    "token": (
        "Share of target tokens predicted with the correct ones before them already given. This is no accuracy: "
        "it leaks the beginning and the length of the target, and a model that cannot say the answer still scores."
    ),
    "leak_gap": "Token minus knowledge accuracy: how much the leaked beginning is worth.",
    "portability": "Share of questions answered that follow from the new fact by one more step.",
    "locality_noise_floor": (
        "The base model against itself in reshuffled batches: below 100 %, locality cannot reach 100 % either."
    ),
    "next_token_kl": (
        "How far the odds of the first answer token moved on unrelated questions: drift that no answer shows yet."
    ),
}
CAPTIONS = {
    "distances": (
        "How far the base model's answers were from the targets before training. The paper's formula gives most "
        "weight near 0 and from 1 on (dashed), least at 0.5."
    ),
    "accuracy_against_distance": (
        "Share of facts answered exactly, by distance before training, with 95 % intervals. Bins with "
        "few facts show little: the table above says whether the arms differ at all."
    ),
    "deviation_against_distance": (
        "Share of facts whose answer moved away from the target, by distance before training. An answer that was near "
        "has more room to move away."
    ),
    "learnt_by_epoch": (
        "Share of facts that were learnt by each epoch: every token of the target had more than half of the odds when "
        "that epoch came to the fact. Greedy answers may be right earlier, and a fact can be lost again."
    ),
    "generality_by_relation": (
        "Share of rephrased questions answered exactly, by relation, the least learnt at the top; few facts each, so "
        "read it for where to look."
    ),
}
SELF_PACED_CAPTIONS = {
    "distances": (
        "How far the base model's answers were from the targets before training; the dashed line is at 1. The weights "
        "follow from each fact's own loss, not from its distance."
    ),
}
