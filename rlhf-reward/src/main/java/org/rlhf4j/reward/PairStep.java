package org.rlhf4j.reward;

import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.TokenPair;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.RewardModel;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.torch.TensorScope;
import org.rlhf4j.core.train.Optimization;
import org.rlhf4j.core.train.StopSignal;

/** One optimizer step of a reward model on preference pairs, and its evaluation. */
public final class PairStep {
  private final RewardModel model;
  private final Optimization optimization;
  private final PairLoss loss;
  private final Recording recording;

  /**
   * Steps of a model, all parts the caller's.
   *
   * @param activationCheckpointing trades time for memory: block inputs are kept, not graphs
   */
  public PairStep(
      RewardModel model,
      Optimization optimization,
      PairLoss loss,
      boolean activationCheckpointing) {
    this.model = model;
    this.optimization = optimization;
    this.loss = loss;
    this.recording = activationCheckpointing ? Recording.PER_BLOCK : Recording.FULL;
  }

  /**
   * What a step found.
   *
   * @param update of the weights
   * @param loss before the update
   * @param tokens computed; those that both sides of a pair begin with count once
   * @param scores of all pairs of the step, before the update
   */
  public record Outcome(Optimization.Update update, double loss, long tokens, PairScores scores) {}

  /**
   * Sums the gradients of the micro-batches and moves the weights once.
   *
   * @throws org.rlhf4j.core.RlhfException if the loss or the gradients are not finite; then nothing
   *     is moved
   */
  public Outcome run(List<List<TokenPair>> microBatches) {
    long stepPairs = microBatches.stream().mapToLong(List::size).sum();
    model.startStep(optimization.steps());
    try (TensorScope scope = model.torch().scope()) {
      Gradients gradients = new Gradients(model.torch().ops(), scope, model.trained());
      List<PairScores> scores = new ArrayList<>();
      double sum = 0;
      long tokens = 0;
      for (List<TokenPair> pairs : microBatches) {
        TokenBatch batch = TokenBatch.ofPairs(pairs, true);
        Derivative derivative = new Derivative(pairs, stepPairs);
        float[] found = model.addGradients(batch, derivative, recording, gradients);
        scores.add(PairScores.ofAlternating(found));
        sum += derivative.result.loss();
        tokens += batch.tokens();
      }
      if (!Double.isFinite(sum)) {
        throw RlhfException.nonFinite(
            "the loss is " + sum + " at step " + (optimization.steps() + 1));
      }
      Optimization.Update update = optimization.step(gradients);
      return new Outcome(update, sum, tokens, PairScores.join(scores));
    }
  }

  private PairLoss.Result lossOf(PairScores scores, List<TokenPair> pairs, long stepPairs) {
    double[] margins = pairs.stream().mapToDouble(TokenPair::margin).toArray();
    return loss.of(scores.chosen(), scores.rejected(), margins, stepPairs);
  }

  /** Asks the loss hook for a micro-batch, once. */
  private final class Derivative implements UnaryOperator<float[]> {
    private final List<TokenPair> pairs;
    private final long stepPairs;
    private PairLoss.Result result;

    private Derivative(List<TokenPair> pairs, long stepPairs) {
      this.pairs = pairs;
      this.stepPairs = stepPairs;
    }

    /** From scores of chosen, rejected, chosen, … to d loss / d score. */
    @Override
    public float[] apply(float[] scores) {
      result = lossOf(PairScores.ofAlternating(scores), pairs, stepPairs);
      float[] derivative = new float[scores.length];
      for (int i = 0; i < pairs.size(); i++) {
        derivative[2 * i] = result.ofChosen()[i];
        derivative[2 * i + 1] = result.ofRejected()[i];
      }
      return derivative;
    }
  }

  /**
   * What an evaluation found.
   *
   * @param loss over all pairs, as if they were one step
   * @param scores of all pairs
   */
  public record Evaluation(double loss, PairScores scores) {}

  /**
   * Evaluates without moving anything.
   *
   * @param stop looked at before each batch
   * @throws StopSignal.Stopped where somebody asked to stop
   */
  public Evaluation evaluate(List<TokenPair> pairs, int batchSize, StopSignal stop) {
    List<PairScores> parts = new ArrayList<>();
    for (int from = 0; from < pairs.size(); from += batchSize) {
      stop.check();
      List<TokenPair> part = pairs.subList(from, Math.min(pairs.size(), from + batchSize));
      parts.add(PairScores.ofAlternating(model.scores(TokenBatch.ofPairs(part, true))));
    }
    PairScores scores = PairScores.join(parts);
    return new Evaluation(lossOf(scores, pairs, pairs.size()).loss(), scores);
  }
}
