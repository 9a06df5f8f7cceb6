package org.rlhf4j.reward;

import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.train.RewardFunction;

/**
 * The keys of where a trainer has its rewards from. {@link #rewardModelNameOrPath()} is null where
 * none is set. The token that a server asks for is never a key, since configurations are stored: it
 * is read from the environment variable {@value RewardToken#VARIABLE}.
 */
public record RewardSourceConfig(
    @Key(
            doc =
                "Folder of the reward model, or URL of a server that speaks OpenRLHF's /get_reward;"
                    + " none only where Java code gives a reward function.",
            defaultValue = Key.NONE,
            existing = Key.Existing.MODEL_FOLDER_OR_URL)
        String rewardModelNameOrPath,
    @Key(
            doc =
                "Seconds that a server, all attempts together, or a Java reward function may take for"
                    + " one batch of responses before the run stops. One attempt at a server may"
                    + " take a quarter of them. 0: no limit, a server that fails is asked 6 times.",
            defaultValue = "600",
            atLeast = 0,
            mayChangeOnResume = true)
        double rewardTimeoutS) {
  /**
   * Asks for one source of rewards.
   *
   * @param function of Java code, or null
   * @throws RlhfException where there is none, or both a name and a function
   */
  public void requireOne(RewardFunction function) {
    if (rewardModelNameOrPath == null && function == null) {
      throw RlhfException.config("reward_model_name_or_path: is required and not given");
    } else if (rewardModelNameOrPath != null && function != null) {
      throw RlhfException.config(
          "reward_model_name_or_path: "
              + rewardModelNameOrPath
              + " is not used where Java code gives a reward function; leave it out");
    }
  }
}
