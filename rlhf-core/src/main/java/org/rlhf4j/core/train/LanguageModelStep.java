package org.rlhf4j.core.train;

import java.util.ArrayList;
import java.util.List;
import org.rlhf4j.core.RlhfException;
import org.rlhf4j.core.data.PackedRow;
import org.rlhf4j.core.data.TokenRow;
import org.rlhf4j.core.data.TokenRowWriter;
import org.rlhf4j.core.model.CausalLm;
import org.rlhf4j.core.model.Decoder.Recording;
import org.rlhf4j.core.model.Gradients;
import org.rlhf4j.core.model.LmHead;
import org.rlhf4j.core.model.TokenBatch;
import org.rlhf4j.core.torch.TensorScope;

/** One optimizer step of a language model on token targets, and its evaluation. */
public final class LanguageModelStep {
  private final CausalLm model;
  private final Optimization optimization;
  private final TokenLoss loss;
  private final Recording recording;

  /**
   * Steps of a model, all parts the caller's.
   *
   * @param activationCheckpointing trades time for memory: block inputs are kept, not graphs
   */
  public LanguageModelStep(
      CausalLm model, Optimization optimization, TokenLoss loss, boolean activationCheckpointing) {
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
   * @param tokens computed
   * @param accuracy share of the targets that are the most likely word
   * @param entropy mean of the distributions in nats
   */
  public record Outcome(
      Optimization.Update update, double loss, long tokens, double accuracy, double entropy) {}

  /**
   * Sums the gradients of the micro-batches and moves the weights once.
   *
   * @throws org.rlhf4j.core.RlhfException if the loss or the gradients are not finite; then nothing
   *     is moved
   */
  public Outcome run(List<List<PackedRow>> microBatches) {
    List<TokenBatch> batches = new ArrayList<>();
    long stepTargets = 0;
    for (List<PackedRow> rows : microBatches) {
      TokenBatch batch = TokenBatch.ofTargets(documents(rows));
      batches.add(batch);
      stepTargets += batch.targets().length;
    }
    model.startStep(optimization.steps());
    try (TensorScope scope = model.torch().scope()) {
      Gradients gradients = new Gradients(model.torch().ops(), scope, model.trained());
      Sums sums = new Sums();
      for (TokenBatch batch : batches) {
        Derivative derivative = new Derivative(batch, stepTargets);
        LmHead.Found found = model.addGradients(batch, derivative, recording, gradients, true);
        sums.add(found, derivative.lossOf(found.logProbs()), batch.tokens());
      }
      if (!Double.isFinite(sums.loss)) {
        throw RlhfException.nonFinite(
            "the loss is " + sums.loss + " at step " + (optimization.steps() + 1));
      }
      Optimization.Update update = optimization.step(gradients);
      return new Outcome(update, sums.loss, sums.tokens, sums.accuracy(), sums.entropy());
    }
  }

  /**
   * The rows of a step as lines of a data file on which the step can be repeated. A document
   * without a target has no part in the loss, and is left out.
   */
  public static List<String> lines(List<List<PackedRow>> microBatches) {
    return microBatches.stream()
        .flatMap(rows -> documents(rows).stream())
        .filter(document -> document.targetCount() > 0)
        .map(TokenRowWriter::line)
        .toList();
  }

  private static List<TokenRow> documents(List<PackedRow> rows) {
    return rows.stream().flatMap(row -> row.documents().stream()).toList();
  }

  /** Asks the loss hook for a micro-batch: once, or twice where its derivative is constant. */
  private final class Derivative implements CausalLm.Derivative {
    private final TokenBatch batch;
    private final long stepTargets;
    private TokenLoss.Result result;

    private Derivative(TokenBatch batch, long stepTargets) {
      this.batch = batch;
      this.stepTargets = stepTargets;
    }

    @Override
    public float[] of(float[] logProbs) {
      result = ask(isConstant() ? new float[batch.targets().length] : logProbs);
      return result.ofLogProbs();
    }

    @Override
    public boolean isConstant() {
      return loss.hasConstantDerivative();
    }

    double lossOf(float[] logProbs) {
      return (isConstant() ? ask(logProbs) : result).loss();
    }

    private TokenLoss.Result ask(float[] logProbs) {
      return loss.of(logProbs, batch.rowOfSelected(), stepTargets);
    }
  }

  /**
   * What an evaluation found.
   *
   * @param loss mean over all targets
   * @param accuracy share of the targets that are the most likely word
   * @param entropy mean of the distributions in nats
   */
  public record Evaluation(double loss, double accuracy, double entropy) {}

  /** Evaluates without moving anything; every target counts the same. */
  public static Evaluation evaluate(CausalLm model, List<PackedRow> rows, int batchSize) {
    return evaluate(model, rows, batchSize, new StopSignal());
  }

  /**
   * As {@link #evaluate(CausalLm, List, int)}, looking for a request to stop before each batch.
   *
   * @throws StopSignal.Stopped where somebody asked to stop
   */
  public static Evaluation evaluate(
      CausalLm model, List<PackedRow> rows, int batchSize, StopSignal stop) {
    Sums sums = new Sums();
    double negativeLogProbs = 0;
    for (int from = 0; from < rows.size(); from += batchSize) {
      stop.check();
      List<PackedRow> part = rows.subList(from, Math.min(rows.size(), from + batchSize));
      TokenBatch batch = TokenBatch.ofTargets(documents(part));
      LmHead.Found found = model.logProbs(batch, true);
      for (float logProb : found.logProbs()) {
        negativeLogProbs -= logProb;
      }
      sums.add(found, 0, batch.tokens());
    }
    return new Evaluation(negativeLogProbs / sums.targets, sums.accuracy(), sums.entropy());
  }

  private static final class Sums {
    private double loss;
    private long tokens;
    private long targets;
    private double correct;
    private double entropies;

    void add(LmHead.Found found, double batchLoss, long batchTokens) {
      loss += batchLoss;
      tokens += batchTokens;
      targets += found.logProbs().length;
      for (float one : found.correct()) {
        correct += one;
      }
      for (float one : found.entropies()) {
        entropies += one;
      }
    }

    double accuracy() {
      return correct / targets;
    }

    double entropy() {
      return entropies / targets;
    }
  }
}
