package org.rlhf4j.ppo;

import org.rlhf4j.core.model.DecoderSpec;
import org.rlhf4j.core.model.Positions;

/**
 * The positions that trlX gives to the tokens of padded rows.
 *
 * @param isGiven whether positions are those that trlX passes: real tokens counted, 1 for padding
 * @param isCounted whether the model finds them by itself from the mask, as OPT: real tokens
 *     counted, -1 for padding; else padding counts like other tokens
 */
record TrlxPlaces(boolean isGiven, boolean isCounted) {
  static TrlxPlaces of(TrlxCompat version, DecoderSpec spec) {
    // OPT is the family whose table of places begins with rows for padding.
    boolean counted = spec.positions() instanceof Positions.Learned learned && learned.offset() > 0;
    return new TrlxPlaces(version.skipsPadding() && !counted, counted);
  }

  /** Of a row's first real token, behind padding. */
  int first(int padding) {
    return isGiven || isCounted ? 0 : padding;
  }

  /**
   * Of the first padding token behind a row's real tokens.
   *
   * @param column of it in the padded row
   */
  int behind(int column) {
    if (isCounted) {
      return -1;
    }
    return isGiven ? 1 : column;
  }
}
