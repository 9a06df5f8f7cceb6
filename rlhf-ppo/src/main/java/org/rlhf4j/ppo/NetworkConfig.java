package org.rlhf4j.ppo;

import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;

/**
 * The keys of the policy, reference and value networks. {@link #valueModelNameOrPath()} and {@link
 * #valueLearningRate()} are null where none is set.
 */
public record NetworkConfig(
    @Key(
            doc =
                "Blocks at the top that are trained, with final norm and head; the rest is frozen and"
                    + " shared with the reference. -1: all, beside a full copy as the reference.",
            defaultValue = "-1",
            atLeast = -1)
        int numLayersUnfrozen,
    @Key(
            doc =
                "Policy and reference share what num_layers_unfrozen freezes, so that it is held and"
                    + " computed once. false: each has its own, as two models side by side; the same"
                    + " numbers, to see what sharing saves.",
            defaultValue = "true")
        boolean shareTrunk,
    @Key(
            doc =
                "Blocks of a value branch of its own, copied from the top; 0: the value head reads the"
                    + " last hidden state.",
            defaultValue = "0",
            atLeast = 0)
        int numValueLayersUnfrozen,
    @Key(
            doc =
                "What values are read from: the policy's hidden states, the frozen reference's, or a"
                    + " model of its own.",
            defaultValue = "policy_head")
        ValueNetwork valueNetwork,
    @Key(
            doc =
                "Folder that a separate value network starts from, as the reward model; none: the policy's.",
            defaultValue = Key.NONE,
            existing = Key.Existing.MODEL_FOLDER)
        String valueModelNameOrPath,
    @Key(
            doc = "Peak learning rate of the value network; none: learning_rate.",
            defaultValue = Key.NONE,
            atLeast = 0)
        Double valueLearningRate)
    implements Checked {
  @Override
  public void check(Problems problems) {
    problems.require(
        numLayersUnfrozen != 0,
        "num_layers_unfrozen: found 0, which leaves nothing to train; allowed: -1 (all) or at least"
            + " 1");
    problems.require(
        shareTrunk || numLayersUnfrozen != -1,
        "share_trunk false: needs num_layers_unfrozen of at least 1, and so no use_peft; with -1 no"
            + " blocks are frozen that could be shared");
    problems.require(
        valueModelNameOrPath == null || valueNetwork == ValueNetwork.SEPARATE,
        "value_model_name_or_path: needs value_network separate; the other value networks start from"
            + " the policy's model");
    problems.require(
        valueNetwork != ValueNetwork.SEPARATE || numValueLayersUnfrozen == 0,
        "num_value_layers_unfrozen "
            + numValueLayersUnfrozen
            + ": has no meaning for value_network separate, all of whose layers are trained");
    problems.require(
        valueNetwork != ValueNetwork.REFERENCE_BRANCH || numValueLayersUnfrozen > 0,
        "num_value_layers_unfrozen 0: value_network reference_branch needs at least 1");
    problems.require(
        numLayersUnfrozen < 0 || numValueLayersUnfrozen <= numLayersUnfrozen,
        "num_value_layers_unfrozen "
            + numValueLayersUnfrozen
            + " is more than num_layers_unfrozen "
            + numLayersUnfrozen);
  }
}
