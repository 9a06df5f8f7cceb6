package org.rlhf4j.ppo;

import org.rlhf4j.core.config.Checked;
import org.rlhf4j.core.config.Flattened;
import org.rlhf4j.core.config.Flattened.Default;
import org.rlhf4j.core.config.Key;
import org.rlhf4j.core.config.Problems;
import org.rlhf4j.core.config.TrainingConfig;
import org.rlhf4j.ppo.rollout.KlEstimator;
import org.rlhf4j.ppo.rollout.RolloutConfig;

/**
 * The keys of {@code ppo}: proximal policy optimisation.
 *
 * <p>A roll-out has {@code rollout_batch_size} samples; an optimizer step is made on {@code
 * mini_batch_size} of them, of which {@code per_device_train_batch_size} are computed side by side.
 * So {@code gradient_accumulation_steps} follows; given as another number than 1, it must be the
 * one that follows.
 *
 * <p>{@code max_length} holds prompt and response together: a prompt may have {@code max_length -
 * max_new_tokens} tokens. {@code eval_strategy: epoch} and {@code save_strategy: epoch} mean every
 * roll-out. A falling learning rate falls over the steps that are planned; {@code target_kl} makes
 * them fewer.
 */
public record PpoConfig(
    @Flattened(
            value = {
              @Default(key = "learning_rate", value = "3e-6"),
              @Default(key = "lr_scheduler_type", value = "constant"),
              @Default(key = "max_length", value = "512"),
              @Default(key = "overlong", value = "drop"),
              @Default(key = "append_eos", value = "false")
            })
        TrainingConfig training,
    @Flattened(heading = "Roll-outs and rewards") RolloutConfig rollout,
    @Flattened(heading = "What is learned from a roll-out") UpdateConfig update,
    @Flattened(heading = "Networks") NetworkConfig network,
    @Key(
            doc =
                "Keeps what the frozen blocks make of a roll-out for all its epochs; with share_trunk"
                    + " false they are computed again each time.",
            defaultValue = "true")
        boolean cacheTrunk,
    @Key(
            doc =
                "Follows a version of trlX to the number, its mistakes included: responses go through"
                    + " text and back, but rewards see it without trlX's end-of-text string; the score and some KL stand on positions behind the response;"
                    + " each micro-batch whitens its advantages over its padding too; the learned"
                    + " places, or the norm, behind the embedding are trained with the policy, and the"
                    + " reference follows them; kl_coef moves with every epoch. v0.6.0 and v0.5.0 also"
                    + " count padding as positions, train the embedding and the prediction of padding,"
                    + " step on each mini-batch num_ppo_epochs times in a row, and lose EOS, v0.5.0"
                    + " always. Keys keep this library's defaults: trlX itself has max_grad_norm 0"
                    + " outside of DeepSpeed, adam_beta2 0.95, weight_decay 1e-6, vf_coef 1,"
                    + " cliprange_reward 10, learning_rate 3e-5. Of the checks, the first ratio's stays"
                    + " (for v0.6.0 and v0.5.0 where generation_batch_size holds a whole roll-out), and"
                    + " reference/drift is left out where the reference moves. none: the clean form.",
            defaultValue = "none")
        TrlxCompat trlxCompat)
    implements Checked {
  /** Samples that are computed side by side. */
  int microBatchSize() {
    return Math.min(training.perDeviceTrainBatchSize(), update.miniBatchSize());
  }

  /** What the schedule's learning rate is multiplied by for the value network. */
  double valueRate() {
    return network.valueLearningRate() == null || training.learningRate() == 0
        ? 1
        : network.valueLearningRate() / training.learningRate();
  }

  @Override
  public void check(Problems problems) {
    int miniBatch = update.miniBatchSize();
    int micro = Math.max(1, microBatchSize());
    problems.require(
        miniBatch % micro == 0,
        "mini_batch_size "
            + miniBatch
            + " is no multiple of per_device_train_batch_size "
            + training.perDeviceTrainBatchSize());
    problems.require(
        training.gradientAccumulationSteps() == 1
            || training.gradientAccumulationSteps() == miniBatch / micro,
        "gradient_accumulation_steps "
            + training.gradientAccumulationSteps()
            + " contradicts mini_batch_size "
            + miniBatch
            + " with per_device_train_batch_size "
            + training.perDeviceTrainBatchSize()
            + ", from which "
            + miniBatch / micro
            + " follow; leave it out");
    problems.require(
        miniBatch <= rollout.rolloutBatchSize(),
        "mini_batch_size "
            + miniBatch
            + " is more than the samples of a roll-out, rollout_batch_size "
            + rollout.rolloutBatchSize());
    rollout.check(problems, training);
    problems.require(
        training.learningRate() > 0
            || network.valueLearningRate() == null
            || network.valueLearningRate() == 0,
        "value_learning_rate "
            + network.valueLearningRate()
            + " needs a learning_rate above 0: both follow one schedule");
    if (!network.shareTrunk()) {
      problems.warnUnused("with share_trunk false", "cache_trunk");
    }
    if (trlxCompat != TrlxCompat.NONE) {
      checkTrlx(problems);
    }
  }

  /** Whether the trunk's states of a roll-out are kept. */
  boolean keepsTrunk() {
    return cacheTrunk && network.shareTrunk() && trlxCompat == TrlxCompat.NONE;
  }

  private void checkTrlx(Problems problems) {
    problems.warnUnused("with trlx_compat, whose trunk can move", "cache_trunk");
    onlyClean(problems, update.klEstimator() == KlEstimator.K1, "kl_estimator");
    onlyClean(problems, !update.whitenRewards(), "whiten_rewards");
    onlyClean(problems, update.whitenAdvantages(), "whiten_advantages");
    onlyClean(problems, update.dualClip() == null, "dual_clip");
    onlyClean(problems, update.entropyCoef() == 0, "entropy_coef");
    onlyClean(problems, update.targetKl() == null, "target_kl");
    onlyClean(problems, rollout.missingEosPenalty() == null, "missing_eos_penalty");
    onlyClean(problems, rollout.lengthPenalty() == 0, "length_penalty");
    onlyClean(problems, network.shareTrunk(), "share_trunk");
    onlyClean(problems, network.valueNetwork() == ValueNetwork.POLICY_HEAD, "value_network");
    onlyClean(
        problems,
        network.numValueLayersUnfrozen() == 0 || trlxCompat == TrlxCompat.HEAD,
        "num_value_layers_unfrozen");
  }

  private void onlyClean(Problems problems, boolean isAsInTrlx, String key) {
    problems.require(
        isAsInTrlx,
        key + ": this setting is not in trlX; leave it out with trlx_compat " + trlxCompat);
  }
}
